//! What a server asks of the system, in order: no acknowledgement leaves before the record that it
//! speaks of is durable, neither to a client nor, as it counts, to another server.
//!
//! Kills cannot show that: what was written and not synced survives the process. Each sync is held up
//! for a while here, so that whoever does not wait for it is seen.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use rollcall_tests::{
    cluster::Cluster,
    server::{Server, new_directory},
    strace::recording,
    wire::Client,
};
use serde_json::json;

use crate::{LASTING, rounds};

#[tokio::test]
async fn a_server_answers_a_write_after_it_is_durable() {
    let records = new_directory();
    let record = records.path().join("trace");
    let mut server = Server::on_disk(LASTING);
    server.kill9();
    fs::remove_dir_all(server.data_dir()).expect("it is ours");
    server.wrap(recording(&record, CALLS, &[HELD_UP]));
    server.restart();
    let mut client = Client::new(&server).await;
    let port = client.local_address().port();
    let writes = rounds(20);
    for number in 0..writes {
        write(&mut client, "ann", number).await;
    }
    server.kill9();
    let calls = read(&record);
    let replies: Vec<_> = calls.iter().filter(|call| call.is_reply_to(port)).collect();
    assert_eq!(replies.len(), writes, "each reply is sent by itself:\n{}", shown(&calls));
    judge(&calls, &replies).unwrap_or_else(|fault| panic!("{fault}:\n{}", shown(&calls)));
    names_are_durable(&calls);
}

/// With one of three away, a write counts when the two others have it: each of them syncs it between
/// the question and the answer. One takes longer than the other, so that neither hides behind it.
#[tokio::test]
async fn both_servers_that_count_sync_before_the_client_hears_of_it() {
    let records = new_directory();
    let record = |id: u64| records.path().join(format!("trace-{id}"));
    let mut cluster = Cluster::on_disk(3, LASTING).await;
    cluster.kill9(2);
    let mut seen = BTreeSet::new();
    for attempt in 0..ATTEMPTS {
        // They may take turns as leader, and this must not keep step with that.
        let slow = if attempt % 4 < 2 { 1 } else { 3 };
        for id in [1, 3] {
            let held_up = if id == slow { HELD_UP_LONG } else { HELD_UP };
            cluster.kill9(id);
            cluster.server_mut(id).wrap(recording(&record(id), CALLS, &[held_up]));
        }
        cluster.restart_all(&[1, 3]).await;
        cluster.wait_ready().await;
        let leader = cluster.leader().await;
        seen.insert(leader == slow);
        let mut client = Client::new(cluster.server(leader)).await;
        let name = format!("user-{attempt}");
        // Whatever there is to be stored once is stored with it.
        write(&mut client, &name, 0).await;
        let mut spans = Vec::new();
        for number in 1..=rounds(10) {
            let asked = unix_us();
            write(&mut client, &name, number).await;
            spans.push((asked, unix_us()));
        }
        for id in [1, 3] {
            cluster.kill9(id);
            let calls = read(&record(id));
            let synced = synced(&calls);
            for (asked, answered) in &spans {
                let within = |sync: &Synced| sync.written.us >= *asked && sync.done.us <= *answered;
                assert!(
                    synced.iter().any(within),
                    "server {id} synced nothing from {asked} to {answered}, where {leader} leads \
                     and {slow} is slow:\n{}",
                    shown(&calls)
                );
            }
        }
        if seen.len() == 2 {
            return;
        }
    }
    panic!("the slow one never led, or always");
}

async fn write(client: &mut Client, name: &str, number: usize) {
    if number.is_multiple_of(2) {
        client.register(name, 1 + number as u16).await;
    } else {
        client.call("GetSequenceNumber", json!({})).await;
    }
}

fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_micros()).expect("it is not that late")
}

/// A system call that returned.
#[derive(Clone, Debug)]
struct Call {
    name: String,
    text: String,
    begun: Moment,
    done: Moment,
}

/// When something was seen: in which line, and how many microseconds after 1970.
#[derive(Clone, Copy, Debug)]
struct Moment {
    line: usize,
    us: u64,
}

/// A group of records that is durable.
#[derive(Clone, Copy, Debug)]
struct Synced {
    /// When its being written began.
    written: Moment,
    /// When the sync after that had returned.
    done: Moment,
}

impl Call {
    /// What it is about: the file of its first argument.
    fn file(&self) -> &str {
        self.text.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |it| it.0)
    }

    /// Whether it writes records. A frame without any says that what is before it is durable.
    fn writes_records(&self) -> bool {
        let count = self.text.rsplit_once(" = ").and_then(|(_, count)| count.trim().parse().ok());
        let more_than_a_mark = count.is_some_and(|count: usize| count > EMPTY_FRAME);
        self.name == "pwrite64" && self.file().contains("/journal-") && more_than_a_mark
    }

    /// Whether it sends a client the outcome of a write.
    fn is_reply_to(&self, port: u16) -> bool {
        let to_client = self.text.contains(&format!("->127.0.0.1:{port}]>"));
        let outcome = ["Connected", "SequenceNumber"];
        to_client
            && outcome.iter().any(|kind| self.text.contains(&format!("\\\"type\\\":\\\"{kind}")))
    }
}

/// Reads what `strace` wrote. A call that others came between has two lines.
fn read(record: &Path) -> Vec<Call> {
    parse(&fs::read_to_string(record).expect("strace wrote something"))
}

fn parse(record: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut open: Vec<(&str, Call)> = Vec::new();
    for (line, text) in record.lines().enumerate() {
        let Some((thread, rest)) = text.split_once(' ') else { continue };
        let Some((time, what)) = rest.trim_start().split_once(' ') else { continue };
        let us = time.replace('.', "").parse().expect("seconds and microseconds");
        let now = Moment { line, us };
        if let Some((_, rest)) = what.split_once(" resumed>") {
            let begun = open.iter().position(|(other, _)| *other == thread);
            let Some(begun) = begun else { continue };
            let (_, mut call) = open.swap_remove(begun);
            call.text += rest;
            call.done = now;
            calls.push(call.timed());
            continue;
        }
        let Some((name, _)) = what.split_once('(') else { continue };
        let (name, begun, done) = (name.to_owned(), now, now);
        match what.strip_suffix(" <unfinished ...>") {
            Some(what) => open.push((thread, Call { name, text: what.to_owned(), begun, done })),
            None => calls.push(Call { name, text: what.to_owned(), begun, done }.timed()),
        }
    }
    calls.sort_by_key(|call| call.begun.line);
    calls
}

impl Call {
    /// Takes the time it took, which is at the end of its text, off that. It ended that much later
    /// than it began, or when the line was written that says so.
    fn timed(mut self) -> Self {
        if let Some((text, took)) = self.text.rsplit_once(" <")
            && let Some(took) = took.strip_suffix('>')
        {
            let took: u64 = took.replace('.', "").parse().expect("seconds and microseconds");
            self.done.us = self.done.us.max(self.begun.us + took);
            self.text.truncate(text.len());
            let end = self.text.trim_end_matches(" (DELAYED)").len();
            self.text.truncate(end);
        }
        self
    }
}

/// Each group of records with the sync that made it durable.
fn synced(calls: &[Call]) -> Vec<Synced> {
    let writes = calls.iter().filter(|call| call.writes_records());
    let sync_of = |write: &Call| {
        let is_one = |call: &&Call| call.name == "fdatasync" && call.file() == write.file();
        let after = |call: &&Call| call.begun.line > write.done.line && call.text.ends_with(" = 0");
        let sync = calls.iter().filter(is_one).find(after)?;
        Some(Synced { written: write.begun, done: sync.done })
    };
    writes.filter_map(sync_of).collect()
}

/// Whether between any two replies, and before the first, a group was written and synced.
fn judge(calls: &[Call], replies: &[&Call]) -> Result<(), String> {
    let synced = synced(calls);
    let mut last = None;
    for reply in replies {
        let sent = reply.begun.line;
        let in_time = |sync: &&Synced| Some(sync.written.line) > last && sync.done.line < sent;
        if !synced.iter().any(|sync| in_time(&sync)) {
            return Err(format!("line {} was sent before its record was durable", sent + 1));
        }
        last = Some(sent);
    }
    Ok(())
}

/// A file gets its name before anything relies on that, and the name is durable.
#[track_caller]
fn names_are_durable(calls: &[Call]) {
    let named = calls
        .iter()
        .find(|call| call.name.starts_with("rename") && call.text.contains("/journal-0000000001"));
    let named = named.unwrap_or_else(|| panic!("the journal gets no name:\n{}", shown(calls)));
    let first = calls.iter().find(|call| call.writes_records()).expect("it was written to");
    let between =
        |call: &&Call| call.begun.line > named.done.line && call.done.line < first.begun.line;
    let syncs = calls.iter().filter(between).filter(|call| call.name == "fsync");
    assert!(syncs.count() > 0, "the folder is not synced:\n{}", shown(calls));
}

fn shown(calls: &[Call]) -> String {
    let line = |call: &Call| {
        let Call { begun, done, text, .. } = call;
        format!("{}-{} ({}..{}): {text}\n", begun.line + 1, done.line + 1, begun.us, done.us)
    };
    calls.iter().map(line).collect()
}

/// What is recorded.
const CALLS: &str = "pwrite64,pwritev,fdatasync,fsync,rename,renameat,renameat2,write,writev,\
                     sendto,sendmsg";
/// Each sync is held up before it is done, microseconds.
const HELD_UP: &str = "--inject=fdatasync:delay_enter=15000";
const HELD_UP_LONG: &str = "--inject=fdatasync:delay_enter=60000";
/// How often to try until the slow one has led and has followed.
const ATTEMPTS: usize = 12;
/// How long a frame without content is, bytes.
const EMPTY_FRAME: usize = 24;

#[test]
fn a_reply_before_its_sync_is_found() {
    let good = "\
7 100.000001 pwrite64(13</d/journal-0000000001>, \"\\2\"..., 40, 96) = 40 <0.000010>
7 100.000002 fdatasync(13</d/journal-0000000001> <unfinished ...>
8 100.000003 sendto(9<TCP:[127.0.0.1:1->127.0.0.1:5]>, \"\\201c{\\\"type\\\":\\\"Pong\\\"\"..., 9) = 9 <0.000010>
7 100.015004 <... fdatasync resumed>) = 0 (DELAYED) <0.015002>
7 100.015005 pwrite64(13</d/journal-0000000001>, \"\\2\"..., 24, 136) = 24 <0.000010>
8 100.015006 sendto(9<TCP:[127.0.0.1:1->127.0.0.1:5]>, \"\\201c{\\\"type\\\":\\\"Connected\\\"\"..., 9) = 9 <0.000010>
";
    let check = |record: &str| {
        let calls = parse(record);
        let replies: Vec<_> = calls.iter().filter(|call| call.is_reply_to(5)).collect();
        assert_eq!(replies.len(), 1, "{}", shown(&calls));
        judge(&calls, &replies)
    };
    assert_eq!(check(good), Ok(()));
    let early: String =
        good.replace("Pong", "Connected").lines().take(5).map(|line| format!("{line}\n")).collect();
    assert!(check(&early).is_err());
    // What was synced was the mark.
    assert!(check(&good.replace("40, 96) = 40", "24, 96) = 24")).is_err());
    // Another file.
    assert!(
        check(&good.replace("fdatasync(13</d/journal-0000000001>", "fdatasync(14</d/spare>"))
            .is_err()
    );
    // It failed.
    assert!(
        check(&good.replace("= 0 (DELAYED)", "= -1 EIO (Input/output error) (INJECTED)")).is_err()
    );
}
