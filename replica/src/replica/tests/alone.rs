//! Scenarios of the replica, as transcripts: links, grace, takeover and refusals, with the time.

use std::time::Duration;

use rollcall_shared::id::{NodeId, RequestId, Revision};
use rollcall_shared::time::Instant;

use super::super::{Attached, Config, Input, LinkId, Output, Refused, Replica};
use crate::consensus::config::{Genesis, Members, Timings};
use crate::consensus::ids::{Boot, ClusterId, Lsn, ProcessId};
use crate::consensus::journal::Stored;
use crate::directory::Bounds;
use crate::{consensus, transcript};

#[test]
fn a_session_outlives_its_link_by_the_grace() {
    check(
        r#"
        > 0 link 1 a
        > 0 open 1 1
        to 1: opened 1, session 103, next id 1
        > 0 write 1 1 connect ann/phone 10.0.0.1:80
        @101 ann/phone appears, 10.0.0.1:80
        to 1: written 1, connected ann/phone @101
        > 500 unlink 1
        timer 10500

        # Exactly at the deadline it ends, not before.
        > 10499 wake
        > 10500 wake
        @102 ann/phone expired, offline
        no timer
        > 10501 wake
        "#,
    );
}

#[test]
fn a_new_link_within_the_grace_keeps_the_session() {
    check(
        r#"
        > 0 link 1 a
        > 0 write 1 1 connect ann/phone 10.0.0.1:80
        @101 ann/phone appears, 10.0.0.1:80
        to 1: written 1, connected ann/phone @101
        > 500 unlink 1
        timer 10500
        > 10499 link 2 a
        no timer
        > 99000 wake
        > 99000 open 2 2
        to 2: opened 2, session 103, next id 2

        # Each last link that ends begins the grace anew.
        > 100000 unlink 2
        timer 110000
        > 100001 link 3 a
        no timer
        > 100002 unlink 3
        timer 110002
        > 110000 wake
        > 110002 wake
        @102 ann/phone expired, offline
        no timer
        "#,
    );
}

#[test]
fn the_last_of_two_links_counts() {
    check(
        r#"
        > 0 link 1 a
        > 0 open 1 1
        to 1: opened 1, session 103, next id 1
        > 1 link 2 a
        > 2 open 2 2
        to 2: opened 2, session 103, next id 1
        > 3 unlink 1
        > 20000 wake
        > 20000 write 2 3 connect ann/phone 10.0.0.1:80
        @101 ann/phone appears, 10.0.0.1:80
        to 2: written 3, connected ann/phone @101
        > 20001 unlink 2
        timer 30001
        > 20002 unlink 2
        > 30001 wake
        @102 ann/phone expired, offline
        no timer
        "#,
    );
}

#[test]
fn timers_end_in_their_order() {
    check(
        r#"
        > 0 link 1 a
        > 0 write 1 1 connect ann/phone 10.0.0.1:80
        @101 ann/phone appears, 10.0.0.1:80
        to 1: written 1, connected ann/phone @101
        > 0 link 2 b
        > 0 write 2 1 connect ann/desk 10.0.0.1:80
        @102 ann/desk appears, 10.0.0.1:80
        to 2: written 1, connected ann/desk @102
        > 0 write 2 2 connect bob/desk 10.0.0.1:80
        @103 bob/desk appears, 10.0.0.1:80
        to 2: written 2, connected bob/desk @103
        > 0 link 3 c
        > 0 open 3 1
        to 3: opened 1, session 108, next id 1
        > 1 unlink 2
        timer 10001
        > 2 unlink 1
        > 3 unlink 3

        # A late wake-up ends all that are due, the earliest first.
        > 10002 wake
        @104 ann/desk expired, online
        @105 bob/desk expired, offline
        @106 ann/phone expired, offline
        timer 10003
        > 10003 wake
        no timer
        "#,
    );
}

#[test]
fn a_link_without_a_session_leaves_nothing() {
    check(
        r#"
        > 0 link 1 a
        > 5 unlink 1
        > 5 unlink 1
        > 6 unlink 9
        > 7 open 1 1
        > 7 write 1 2 sequence 1
        > 20000 wake

        # The link was there before the session was.
        > 20000 link 2 a
        > 20000 link 3 a
        > 20001 open 3 1
        to 3: opened 1, session 103, next id 1
        > 20002 unlink 3
        > 40000 wake
        > 40000 unlink 2
        timer 50000
        "#,
    );
}

#[test]
fn a_session_opened_after_the_end_has_another_number() {
    check(
        r#"
        > 0 link 1 a
        > 0 open 1 1
        to 1: opened 1, session 103, next id 1
        > 0 write 1 2 sequence 5
        to 1: written 2, numbers 1 to 5
        > 0 write 1 3 connect ann/phone 10.0.0.1:80
        @101 ann/phone appears, 10.0.0.1:80
        to 1: written 3, connected ann/phone @101
        > 0 unlink 1
        timer 10000
        > 10000 wake
        @102 ann/phone expired, offline
        no timer

        # Outcomes are repeated in the next life; the registration does not come back by itself.
        > 10001 link 2 a
        > 10001 write 2 2 sequence 5
        to 2: written 2, numbers 1 to 5
        > 10001 write 2 3 connect ann/phone 10.0.0.1:80
        to 2: written 3, connected ann/phone @101
        > 10001 open 2 4
        to 2: opened 4, session 107, next id 4
        > 10001 write 2 5 connect ann/phone 10.0.0.1:80
        @103 ann/phone appears, 10.0.0.1:80
        to 2: written 5, connected ann/phone @103
        "#,
    );
}

#[test]
fn all_links_of_the_old_session_hear_of_a_takeover() {
    check(
        r#"
        > 0 link 1 a as sam
        > 0 link 2 a as sam
        > 0 link 3 b as sam
        > 0 link 4 c as tom
        # It knows the client id, but is not sam.
        > 0 link 5 a as tom
        > 0 write 1 1 connect ann/phone 10.0.0.1:80
        @101 ann/phone appears, 10.0.0.1:80
        to 1: written 1, connected ann/phone @101
        > 1 write 3 1 connect ann/phone 10.0.0.2:80
        to 1: replaced ann/phone
        to 2: replaced ann/phone
        @102 ann/phone changes, 10.0.0.2:80
        to 3: written 1, connected ann/phone @102

        # A retry replaces nobody again.
        > 2 write 3 1 connect ann/phone 10.0.0.2:80
        to 3: written 1, connected ann/phone @102
        > 2 write 2 2 disconnect ann/phone
        to 2: written 2, DisconnectUser: NotOwner
        > 2 write 4 1 connect ann/phone 10.0.0.3:80
        to 4: written 1, ConnectUser: UsernameTaken

        # In its grace a session has nobody left to tell, but still holds against others.
        > 3 unlink 3
        timer 10003
        > 4 write 4 2 connect ann/phone 10.0.0.3:80
        to 4: written 2, ConnectUser: UsernameTaken
        > 5 write 2 3 connect ann/phone 10.0.0.1:80
        @103 ann/phone changes, 10.0.0.1:80
        to 2: written 3, connected ann/phone @103
        > 10003 wake
        no timer
        > 10004 write 4 3 connect ann/desk 10.0.0.3:80
        @104 ann/desk appears, 10.0.0.3:80
        to 4: written 3, connected ann/desk @104
        "#,
    );
}

#[test]
fn links_of_another_principal_keep_nothing_alive() {
    check(
        r#"
        > 0 link 1 a as sam
        > 0 write 1 1 connect ann/phone 10.0.0.1:80
        @101 ann/phone appears, 10.0.0.1:80
        to 1: written 1, connected ann/phone @101
        > 0 link 2 a as tom
        > 0 open 2 1
        to 2: refused 1, Forbidden
        > 0 write 2 1 connect ann/phone 10.0.0.1:80
        to 2: refused 1, Forbidden
        > 1 unlink 1
        timer 10001
        > 2 link 3 a as tom
        > 3 unlink 2
        > 4 unlink 3
        > 5 link 4 a as tom
        > 10001 wake
        @102 ann/phone expired, offline
        no timer

        # Nor does the client id become theirs.
        > 10002 open 4 2
        to 4: refused 2, Forbidden
        > 10002 unlink 4
        "#,
    );
}

#[test]
fn writes_open_a_session_where_there_is_room() {
    check(
        r#"
        > 0 link 1 a
        > 0 link 2 b
        > 0 link 3 c
        > 0 link 4 d
        > 0 write 1 1 sequence 1
        to 1: written 1, numbers 1 to 1
        > 0 write 2 1 disconnect ann/phone
        to 2: written 1, DisconnectUser: NotFound
        > 0 open 3 1
        to 3: opened 1, session 107, next id 1

        # There are at most three sessions and three registrations in these tests.
        > 0 open 4 1
        to 4: refused 1, Full
        > 0 write 4 2 sequence 1
        to 4: refused 2, Full
        > 0 open 1 2
        to 1: opened 2, session 103, next id 2
        > 0 write 1 2 connect ann/phone 10.0.0.1:80
        @101 ann/phone appears, 10.0.0.1:80
        to 1: written 2, connected ann/phone @101
        > 0 write 1 3 connect ann/desk 10.0.0.1:80
        @102 ann/desk appears, 10.0.0.1:80
        to 1: written 3, connected ann/desk @102
        > 0 write 3 2 connect carl/desk 10.0.0.1:80
        @103 carl/desk appears, 10.0.0.1:80
        to 3: written 2, connected carl/desk @103
        > 0 write 2 2 connect bob/phone 10.0.0.1:80
        to 2: written 2, full
        > 1 unlink 1
        timer 10001

        # The grace counts. When it has ended there is room, and what was full may be tried again.
        > 10000 write 4 2 sequence 1
        to 4: refused 2, Full
        > 10001 wake
        @104 ann/desk expired, online
        @105 ann/phone expired, offline
        no timer
        > 10001 write 4 2 sequence 1
        to 4: written 2, numbers 2 to 2
        > 10001 write 2 2 connect bob/phone 10.0.0.1:80
        @106 bob/phone appears, 10.0.0.1:80
        to 2: written 2, connected bob/phone @106
        > 10001 link 5 a
        > 10001 open 5 4
        to 5: refused 4, Full

        # That link had no session, so its end starts no timer.
        > 10002 unlink 5
        "#,
    );
}

#[test]
#[should_panic(expected = "says once whose it is")]
fn a_link_has_one_owner() {
    check(
        "
        > 0 link 1 a
        > 0 link 1 b
        ",
    );
}

/// Runs a transcript on an empty replica with a grace of ten seconds. Each command begins with its
/// time in milliseconds:
/// - `link LINK CLIENT [as SUBJECT]` and `unlink LINK`
/// - `open LINK ID` and `write LINK ID WRITE`
/// - `wake`: the time is told
///
/// A line about the timer is there where it is another one than before.
fn check(transcript: &str) {
    let mut server = Server::new();
    transcript::check(transcript, |command| {
        let words: Vec<&str> = command.split(' ').collect();
        let now = Instant::from_millis(words[0].parse().unwrap());
        let timer = server.timer();
        match words[1] {
            "wake" => server.replica.handle_timeout(now),
            _ => server.replica.handle(now, input(&words[1..])),
        }
        let mut lines = server.outputs(now);
        if server.timer() != timer {
            lines.push(match server.timer() {
                Some(at) => format!("timer {}", at.as_micros() / 1000),
                None => "no timer".to_owned(),
            });
        }
        lines
    });
}

/// A server alone, whose disk answers at once.
struct Server {
    replica: Replica,
    lsn: u64,
}

impl Server {
    fn new() -> Self {
        let timings = Timings { grace: Duration::from_secs(10), ..Timings::default() };
        let genesis = Genesis { cluster: ClusterId(1), first_revision: Revision(100) };
        let consensus = consensus::config::Config {
            me: NodeId(1),
            members: Members::new([NodeId(1)]).unwrap(),
            timings,
            bounds: Bounds { registrations: 3, sessions: 3 },
            process: ProcessId(1),
            new_boot: Boot(1),
            genesis,
            seed: 1,
            piece_bytes: consensus::config::Config::PIECE_BYTES,
        };
        let (patience, snapshot_every) = (Config::PATIENCE, 7);
        let apply_at_once = Config::APPLY_AT_ONCE;
        let config = Config { consensus, patience, snapshot_every, apply_at_once };
        let now = Instant::from_millis(0);
        let replica = Replica::new(now, config, Stored::empty(NodeId(1)));
        let mut server = Self { replica, lsn: 0 };
        assert_eq!(server.outputs(now), ["Installed { revision: Revision(100) }"]);
        server
    }

    fn outputs(&mut self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(output) = self.replica.poll_output() {
            if matches!(output, Output::Store(_)) {
                self.lsn += 1;
                let through = Lsn(self.lsn);
                self.replica.handle(now, Input::Stored { through });
            } else {
                lines.push(output_text(&output));
            }
        }
        lines
    }

    /// When a session ends: requests that wait are answered at once here.
    fn timer(&self) -> Option<Instant> {
        self.replica.leading.as_ref().and_then(Attached::next_deadline)
    }
}

fn input(words: &[&str]) -> Input {
    let link = LinkId(words[1].parse().unwrap());
    let request = || RequestId(words[2].parse().unwrap());
    match words[0] {
        "link" => {
            let (client, principal) = transcript::parse_identity(&words[2..]);
            Input::Linked { link, client, principal }
        }
        "open" => Input::Open { link, request: request() },
        "write" => {
            let write = transcript::parse_write(&words[3..]);
            Input::Write { link, request: request(), write }
        }
        "unlink" => Input::Unlinked { link },
        _ => panic!("not a command: {words:?}"),
    }
}

fn output_text(output: &Output) -> String {
    match output {
        Output::Opened { link, request, session, next_id } => {
            format!("to {}: opened {request}, session {session}, next id {next_id}", link.0)
        }
        Output::Written { link, request, written } => {
            format!("to {}: written {request}, {}", link.0, transcript::written_text(written))
        }
        Output::Refused { link, request, why } => {
            let why = match why {
                Refused::NoSession(why) => format!("{why:?}"),
                why => format!("{why:?}"),
            };
            format!("to {}: refused {request}, {why}", link.0)
        }
        Output::Changed(change) => transcript::change_text(change),
        Output::Replaced { link, username, device } => {
            format!("to {}: replaced {username}/{device}", link.0)
        }
        other => format!("{other:?}"),
    }
}
