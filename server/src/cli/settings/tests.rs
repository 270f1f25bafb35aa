//! Precedence and messages, seen from the command line.

use std::collections::BTreeSet;

use super::*;
use crate::cli;
use crate::cli::args::LogFormat;

/// Resolves a command line with these variables and this configuration file.
fn resolve(
    arguments: &str,
    environment: &[(&str, &str)],
    text: Option<&str>,
) -> Result<Invocation, Failure> {
    let mut arguments: Vec<OsString> =
        format!("rollcall {arguments}").split_whitespace().map(OsString::from).collect();
    // Deleted with the guard, after the file was read.
    let file = text.map(File::new);
    if let Some(file) = &file {
        arguments.push("--config".into());
        arguments.push(file.0.clone().into());
    }
    let variable = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    parse(&arguments, variable)
}

struct File(std::path::PathBuf);

impl File {
    fn new(text: &str) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rollcall-settings-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("the temporary folder is writable");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // What is left behind in the temporary folder does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The values a command line ends up with, by the flags it would take to say so.
fn values(arguments: &str, environment: &[(&str, &str)], text: Option<&str>) -> Vec<String> {
    let invocation = match resolve(arguments, environment, text) {
        Ok(invocation) => invocation,
        Err(failure) => panic!("{failure:?}"),
    };
    let keys: Vec<String> = invocation.matches.ids().map(ToString::to_string).collect();
    let flags = flags(&invocation.matches, &keys);
    flags.into_iter().map(|flag| flag.into_string().expect("the values are UTF-8")).collect()
}

#[track_caller]
fn check(arguments: &str, environment: &[(&str, &str)], text: Option<&str>, expected: &[&str]) {
    let values = values(arguments, environment, text);
    for flag in expected {
        assert!(values.iter().any(|value| value == flag), "{flag} is not among {values:?}");
    }
}

#[track_caller]
fn check_fault(
    arguments: &str,
    environment: &[(&str, &str)],
    text: Option<&str>,
    expected: &[&str],
) {
    let Err(Failure::Usage(message)) = resolve(arguments, environment, text) else {
        panic!("that is no usage fault");
    };
    for part in expected {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let file = Some("heartbeat_ms = 300");
    let variable = [("ROLLCALL_HEARTBEAT_MS", "200")];
    check("serve --heartbeat-ms 100", &variable, file, &["--heartbeat-ms=100"]);
    check("serve", &variable, file, &["--heartbeat-ms=200"]);
    check("serve", &[], file, &["--heartbeat-ms=300"]);
    check("serve", &[], None, &["--heartbeat-ms=5000"]);
    let empty = [("ROLLCALL_HEARTBEAT_MS", "")];
    check("serve", &empty, file, &["--heartbeat-ms=300"]);
}

#[test]
fn every_place_of_the_file_reaches_its_command() {
    let file = Some(
        r#"
        id = 7
        listen = "127.0.0.1:7107"
        in_memory = true
        allow_origins = ["https://a.example", "https://b.example"]
        log_format = "json"
        members = { 2 = "ws://127.0.0.1:7102/peer" }
        [dev]
        base_port = 7201
        in_memory = true
        [client]
        servers = ["ws://127.0.0.1:1/ws", "ws://127.0.0.1:2/ws"]
        token = "secret"
        timeout_ms = 1500
        json = true
        [connect]
        device = "phone"
        [sequence]
        count = 3
        [watch]
        prefix = "team-"
        [bench]
        workload = "mixed"
        "#,
    );
    let serve = [
        "--id=7",
        "--listen=127.0.0.1:7107",
        "--in-memory",
        "--allow-origin=https://a.example",
        "--allow-origin=https://b.example",
        "--member=2=ws://127.0.0.1:7102/peer",
    ];
    check("serve", &[], file, &serve);
    check("dev", &[], file, &["--base-port=7201", "--allow-origin=https://b.example"]);
    let client = [
        "--server=ws://127.0.0.1:1/ws",
        "--server=ws://127.0.0.1:2/ws",
        "--token=secret",
        "--timeout=1500ms",
        "--json",
    ];
    check("lookup ann", &[], file, &client);
    check("status", &[], file, &client);
    check("connect ann 127.0.0.1 1", &[], file, &["--device=phone"]);
    check("sequence", &[], file, &["--count=3"]);
    check("watch", &[], file, &["--prefix=team-"]);
    check("bench", &[], file, &["--workload=mixed"]);
    let invocation = resolve("status", &[], file).expect("it is valid");
    assert_eq!(invocation.cli.global.log_format, LogFormat::Json);
}

#[test]
fn lists_replace_each_other_as_a_whole() {
    let file = Some(r#"members = ["2=ws://a:1/peer", "3=ws://b:1/peer"]"#);
    let of = |arguments, environment: &[(&str, &str)]| {
        let mut values = values(arguments, environment, file);
        values.retain(|flag| flag.starts_with("--member"));
        values
    };
    assert_eq!(of("serve --member 4=ws://c:1/peer", &[]), ["--member=4=ws://c:1/peer"]);
    let variable = [("ROLLCALL_MEMBER", "5=ws://d:1/peer, 6=ws://e:1/peer")];
    assert_eq!(of("serve", &variable), ["--member=5=ws://d:1/peer", "--member=6=ws://e:1/peer"]);
    assert_eq!(of("serve", &[]).len(), 2);
}

#[test]
fn what_excludes_another_setting_is_decided_by_the_higher_source() {
    let memory = Some("in_memory = true");
    let of = |arguments, environment: &[(&str, &str)], file| {
        let cli = resolve(arguments, environment, file).expect("it is valid").cli;
        let cli::Command::Serve(serve) = cli.command else { panic!("it is serve") };
        let storage = serve.storage();
        (storage.in_memory, storage.data_dir.clone().map(|path| path.display().to_string()))
    };
    assert_eq!(of("serve", &[], memory), (true, None));
    assert_eq!(of("serve --data-dir d", &[], memory), (false, Some("d".into())));
    assert_eq!(of("serve", &[("ROLLCALL_DATA_DIR", "e")], memory), (false, Some("e".into())));
    assert_eq!(of("serve", &[("ROLLCALL_IN_MEMORY", "false")], memory), (false, None));
    let off = [("ROLLCALL_IN_MEMORY", "0")];
    assert_eq!(of("serve", &off, Some("data_dir = 'f'")), (false, Some("f".into())));
    check_fault(
        "serve",
        &[],
        Some("in_memory = true\ndata_dir = 'f'"),
        &["the file sets both", "in_memory", "data_dir"],
    );
    let both = resolve("serve --in-memory --data-dir d", &[], None);
    assert!(matches!(both, Err(Failure::Clap(_))));
    // Names on the command line rule out the filters that stand elsewhere.
    let watch = values("watch ann", &[("ROLLCALL_ALL", "yes")], Some("[watch]\nprefix = 'a'"));
    assert!(!watch.iter().any(|flag| flag.starts_with("--prefix")), "{watch:?}");
    assert!(!watch.contains(&"--all".to_owned()), "{watch:?}");
}

#[test]
fn a_fault_in_the_file_names_file_line_key_and_what_is_right() {
    let fault = |text: &str, expected: &[&str]| check_fault("serve", &[], Some(text), expected);
    fault(
        "id = 1\nheartbeat = 5000\n",
        &[".toml:2: ", "unknown key \"heartbeat\"", "did you mean \"heartbeat_ms\"?"],
    );
    fault(
        "\n\nheartbeat_ms = 1\n",
        &[".toml:3: ", "heartbeat_ms is \"1\" but must be", "10 to 600000", "heartbeat_ms = 5000"],
    );
    fault("heartbeat_ms = \"5000\"", &[":1: ", "must be a whole number", "heartbeat_ms = 5000"]);
    fault("in_memory = 1", &["in_memory must be true or false", "in_memory = true"]);
    fault("listen = \"here\"", &["listen is \"here\"", "listen = \"127.0.0.1:7101\""]);
    fault("log_format = \"xml\"", &["must be one of human, json", "log_format = \"human\""]);
    fault("members = { x = \"ws://a:1/peer\" }", &["members", "id before"]);
    fault("members = [2]", &["array of strings", "members = { 2 = "]);
    fault("servers = []", &["unknown key \"servers\"", "belongs in [client]"]);
    fault("[client]\nlisten = \"a\"", &[":2: ", "in [client]", "top level, above the first"]);
    fault("[clent]\njson = true", &[":1: ", "\"clent\"", "did you mean \"client\"?"]);
    fault("[client]\ntimeout_ms = \"5s\"", &[":2: ", "client.timeout_ms", "timeout_ms = 5000"]);
    fault("zzz = 1", &["unknown key \"zzz\"; known are", "heartbeat_ms"]);
    fault("config = \"other.toml\"", &["unknown key \"config\""]);
    fault("id = 1\nid = 2", &[":2: ", "not TOML"]);
    fault("id = ", &[":1: ", "not TOML"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = "serve --config no/such/file.toml";
    check_fault(missing, &[], None, &["no/such/file.toml", "cannot be read"]);
    let variable = [("ROLLCALL_CONFIG", "no/such/other.toml")];
    check_fault("status", &variable, None, &["no/such/other.toml"]);
}

#[test]
fn a_fault_in_the_environment_names_the_variable() {
    let fault =
        |name, value, expected: &[&str]| check_fault("serve", &[(name, value)], None, expected);
    fault(
        "ROLLCALL_HEARTBEAT_MS",
        "soon",
        &["ROLLCALL_HEARTBEAT_MS", "\"soon\"", "whole number from 10 to 600000"],
    );
    fault("ROLLCALL_IN_MEMORY", "maybe", &["ROLLCALL_IN_MEMORY", "true or false"]);
    fault("ROLLCALL_LOG_FORMAT", "xml", &["ROLLCALL_LOG_FORMAT", "human, json"]);
    fault("ROLLCALL_LOG", "inof", &["ROLLCALL_LOG", "level"]);
    // What the command has no use for is not looked at.
    assert!(resolve("serve", &[("ROLLCALL_COUNT", "x")], None).is_ok());
}

#[test]
fn a_token_is_not_repeated_in_messages() {
    let long = "x".repeat(9000);
    let found = resolve("status", &[("ROLLCALL_TOKEN", &long)], None);
    let Err(Failure::Usage(message)) = found else { panic!("it is too long") };
    assert!(message.contains("ROLLCALL_TOKEN") && !message.contains("xxx"), "{message}");
    let text = format!("[client]\ntoken = \"{long}\"");
    let Err(Failure::Usage(message)) = resolve("status", &[], Some(&text)) else {
        panic!("it is too long")
    };
    assert!(message.contains("client.token") && !message.contains("xxx"), "{message}");
}

#[test]
fn the_command_line_is_well_formed_and_its_help_teaches() {
    command().debug_assert();
    for sub in command().get_subcommands_mut() {
        let name = sub.get_name().to_owned();
        let help = sub.render_long_help().to_string();
        assert!(help.contains("EXAMPLES"), "{name}: no example");
        assert!(help.contains(&format!("rollcall {name}")), "{name}: not in its examples");
        let about = sub.get_long_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.len() > 120, "{name}: no paragraph");
        for arg in sub.get_arguments().filter(|arg| variable(arg).is_some()) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("[env: ROLLCALL_"), "{name} --{}: {help}", arg.get_id());
            let default = arg.get_default_values().is_empty()
                || matches!(arg.get_action(), ArgAction::SetTrue);
            assert!(!default || help.contains("[default: "), "{name} --{}: {help}", arg.get_id());
        }
    }
}

#[test]
fn every_setting_has_a_variable_and_a_key_of_its_own() {
    let command = command();
    let settings = settings(&command);
    let places: BTreeSet<_> =
        settings.iter().map(|setting| (setting.table.clone(), setting.key().to_owned())).collect();
    for setting in &settings {
        let near = settings.iter().find(|other| {
            (other.table == setting.table && other.key() == setting.key())
                != (other.table == setting.table && other.variable == setting.variable)
        });
        assert!(near.is_none(), "{} and {near:?} share a name", setting.key());
        assert!(
            setting.check("\u{0}").is_err()
                || setting.kind() == Kind::Text
                || setting.kind() == Kind::Texts
        );
    }
    for key in ["id", "listen", "members", "advertise", "tokens", "link_queue_bytes", "log"] {
        assert!(places.contains(&(String::new(), key.to_owned())), "{key}");
    }
}

#[test]
fn the_operations_page_lists_every_setting() {
    let page = include_str!("../../../../docs/operations.md");
    for setting in settings(&command()) {
        let (key, long) = (setting.key(), setting.arg.get_long().unwrap_or_default());
        let is_its_row = |line: &str| {
            line.contains(&format!("`{key}`"))
                || line.contains(&format!("`{}.{key}`", setting.table))
        };
        let default = setting.arg.get_default_values().first().and_then(|value| value.to_str());
        let tells = |line: &str| {
            line.contains(&format!("`--{long}`"))
                && line.contains(&format!("`{}`", setting.variable))
                && default.is_none_or(|default| {
                    default.starts_with("ws:") || line.contains(&format!("`{default}`"))
                })
        };
        let found = page.lines().any(|line| is_its_row(line) && tells(line));
        assert!(found, "{key}, --{long}, {}, {default:?}: no such row", setting.variable);
    }
}

#[test]
fn a_command_line_can_say_what_another_one_resolved() {
    let file = Some("session_grace_ms = 100\ntokens = \"t.toml\"");
    let invocation = resolve("dev --heartbeat-ms 50", &[], file).expect("it is valid");
    let mut keys = keys_of::<Tunables>();
    keys.push("log_format".to_owned());
    let flags = flags(&invocation.matches, &keys);
    let passed: Vec<&str> = flags.iter().filter_map(|flag| flag.to_str()).collect();
    for flag in
        ["--heartbeat-ms=50", "--session-grace-ms=100", "--tokens=t.toml", "--log-format=human"]
    {
        assert!(passed.contains(&flag), "{flag} is not in {passed:?}");
    }
    assert!(passed.iter().all(|flag| !flag.starts_with("--base-port")));
    let again = resolve(&format!("serve {}", passed.join(" ")), &[], None);
    assert!(again.is_ok(), "{:?}", again.err());
}
