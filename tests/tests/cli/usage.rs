//! Help that teaches, and wrong command lines: exit 2 with what would be right, on standard error.

use rollcall_tests::command::run;

const COMMANDS: [&str; 11] = [
    "serve", "dev", "connect", "lookup", "sequence", "watch", "status", "backup", "restore",
    "readmit", "bench",
];

#[tokio::test]
async fn help_lists_every_command_and_ends_well() {
    for arguments in [&["--help"][..], &["help"], &["-h"]] {
        let help = run(arguments).await;
        assert_eq!(help.code, Some(0), "{}", help.stderr);
        for command in COMMANDS {
            assert!(help.stdout.contains(command), "{command} is not in\n{}", help.stdout);
        }
    }
}

#[tokio::test]
async fn help_of_each_command_has_an_example_of_it() {
    for command in COMMANDS {
        let help = run(&[command, "--help"]).await;
        assert_eq!(help.code, Some(0), "{}", help.stderr);
        let example = format!("rollcall {command}");
        let lines = help.stdout.lines().filter(|line| !line.starts_with("Usage:"));
        let examples = lines.filter(|line| line.contains(&example)).count();
        assert!(examples > 0, "no example in\n{}", help.stdout);
        assert!(help.stderr.is_empty(), "{}", help.stderr);
    }
}

#[tokio::test]
async fn help_names_variable_and_key_of_a_flag() {
    let help = run(&["serve", "--help"]).await.stdout;
    for name in ["--session-grace-ms", "ROLLCALL_SESSION_GRACE_MS", "session_grace_ms"] {
        assert!(help.contains(name), "{name} is not in\n{help}");
    }
}

#[tokio::test]
async fn the_version_is_told() {
    let version = run(&["--version"]).await;
    assert_eq!(version.code, Some(0));
    assert_eq!(version.stdout, format!("rollcall {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_wrong_command_line_is_status_2_and_says_what_is_wrong() {
    let cases: [(&[&str], &str); 24] = [
        (&[], "serve"),
        (&["fly"], "fly"),
        (&["lookup"], "NAME"),
        (&["lookup", "ann", "--fly"], "--fly"),
        (&["lookup", "a b"], "a b"),
        (&["lookup", ""], ""),
        (&["connect", "ann", "203.0.113.7"], "PORT"),
        (&["connect", "ann", "example.org", "1"], "example.org"),
        (&["connect", "ann", "::1", "0"], "port"),
        (&["connect", "ann", "::1", "65536"], "port"),
        (&["connect", "ann", "::1", "1", "--meta", "[]"], "meta"),
        (&["connect", "ann", "::1", "1", "--meta", "{"], "meta"),
        (&["connect", "ann", "::1", "1", "--device", "a b"], "device"),
        (&["sequence", "--count", "0"], "10000"),
        (&["sequence", "--count", "10001"], "10000"),
        (&["sequence", "--count", "many"], "many"),
        (&["watch", "--all", "--prefix", "a"], "--prefix"),
        (&["watch", "ann", "--all"], "--all"),
        (&["status", "extra"], "extra"),
        (&["status", "--server", "127.0.0.1:7101"], "ws://"),
        (&["status", "--timeout", "soon"], "5s"),
        (&["serve", "--in-memory", "--id", "0"], "--id"),
        (&["serve", "--in-memory", "--listen", "7101"], "127.0.0.1:7101"),
        (&["serve", "--in-memory", "--log-format", "xml"], "json"),
    ];
    for (arguments, said) in cases {
        let finished = run(arguments).await;
        assert_eq!(finished.code, Some(2), "{arguments:?}: {}", finished.stderr);
        assert!(finished.stdout.is_empty(), "{arguments:?} printed {}", finished.stdout);
        assert!(finished.stderr.contains(said), "{arguments:?}: {}", finished.stderr);
    }
}

#[tokio::test]
async fn a_server_keeps_its_state_in_memory_or_in_a_folder_and_not_in_both() {
    for command in ["serve", "dev"] {
        let both = run(&[command, "--in-memory", "--data-dir", "data"]).await;
        assert_eq!(both.code, Some(2), "{}", both.stderr);
        assert!(both.stdout.is_empty(), "{}", both.stdout);
        for flag in ["--in-memory", "--data-dir"] {
            assert!(both.stderr.contains(flag), "{}", both.stderr);
        }
    }
}

#[tokio::test]
async fn members_that_make_no_cluster_are_refused() {
    let serve = ["serve", "--in-memory", "--id", "1", "--listen", "127.0.0.1:0"];
    let member = |id: u32| format!("--member={id}=ws://127.0.0.1:710{id}/peer");
    let cases: [(Vec<String>, &str); 6] = [
        (vec![member(1)], "must name the other servers, not this one"),
        (vec![member(2), member(2)], "names a server twice"),
        ((2..=8).map(member).collect(), "at most 7 servers"),
        (vec!["--member=ws://127.0.0.1:7102/peer".into()], "ID=URL"),
        (vec!["--member=2=http://127.0.0.1:7102".into()], "ws://127.0.0.1:7102/peer"),
        (vec!["--member=0=ws://127.0.0.1:7102/peer".into()], "from 1"),
    ];
    for (members, said) in cases {
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let finished = run(&[&serve[..], &members].concat()).await;
        assert_eq!(finished.code, Some(2), "{members:?}: {}", finished.stderr);
        assert!(finished.stdout.is_empty(), "{members:?} printed {}", finished.stdout);
        assert!(finished.stderr.contains(said), "{members:?}: {}", finished.stderr);
    }
    for size in ["0", "8", "many"] {
        let finished = run(&["dev", "--base-port", "0", "--size", size]).await;
        assert_eq!(finished.code, Some(2), "{size}: {}", finished.stderr);
        assert!(finished.stderr.contains("from 1 to 7"), "{size}: {}", finished.stderr);
    }
    let ports = run(&["dev", "--base-port", "65534", "--size", "3"]).await;
    assert_eq!(ports.code, Some(2), "{}", ports.stderr);
    assert!(ports.stderr.contains("no port for server 3"), "{}", ports.stderr);
}

#[tokio::test]
async fn help_says_what_an_even_number_of_servers_means() {
    for command in ["serve", "dev"] {
        let help = run(&[command, "--help"]).await.stdout;
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("even number"), "{command}:\n{help}");
        assert!(words.contains("leader"), "{command}:\n{help}");
    }
}

#[tokio::test]
async fn client_commands_try_the_three_servers_of_dev_unless_told_otherwise() {
    let default = "[default: ws://127.0.0.1:7101/ws ws://127.0.0.1:7102/ws ws://127.0.0.1:7103/ws]";
    for command in ["connect", "lookup", "sequence", "watch", "status", "bench"] {
        let help = run(&[command, "--help"]).await.stdout;
        // As one line: help breaks where the terminal ends.
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(default), "{command}:\n{help}");
    }
}

#[tokio::test]
async fn what_the_user_wrote_is_shown_without_its_control_characters() {
    let finished = run(&["lookup", "a\u{1b}[31mb"]).await;
    assert_eq!(finished.code, Some(2));
    assert!(!finished.stderr.contains("\u{1b}[31mb"), "{:?}", finished.stderr);
}
