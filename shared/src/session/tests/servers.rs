//! Links to all servers: which are opened and closed, which of them is the home.

use super::*;

#[test]
fn there_is_a_link_to_every_member() {
    let mut rig = Rig::new("ws://a");
    rig.size = 3;
    rig.open(1);
    rig.drain();
    rig.join(1, 1);
    rig.expect(&["state connected", "open 2 ws://b", "open 3 ws://c"]);
    rig.open(3);
    rig.expect(&[r#"3< Hello#2 {"session":5,"versions":[1]}"#]);
    rig.join(3, 3);
    assert!(rig.opened().is_empty(), "they are known");
    // One that joins later is named by the next `Welcome`.
    rig.size = 4;
    rig.open(2);
    rig.drain();
    rig.join(2, 2);
    assert_eq!(rig.opened(), [(4, "ws://d".to_owned())]);
    rig.lose(4, 1006);
    rig.pass(100);
    assert_eq!(rig.opened(), [(5, "ws://d".to_owned())]);
}

#[test]
fn seeds_nobody_knows_are_tried_where_a_member_fails() {
    let mut rig = Rig::new("ws://a ws://proxy");
    rig.size = 2;
    rig.open(1);
    rig.drain();
    rig.join(1, 1);
    assert_eq!(rig.opened(), [(2, "ws://b".to_owned())]);
    rig.pass(900);
    rig.expect(&[]);
    // The cluster names the second by a URL that does not work from here.
    rig.lose(2, 1006);
    rig.expect(&["open 3 ws://proxy"]);
    rig.open(3);
    rig.drain();
    rig.join(3, 2);
    rig.pass(900);
    let said = rig.drain();
    assert!(!said.iter().any(|line| line.starts_with("open")), "{said:?}");
    rig.lose(3, 1006);
    rig.pass(100);
    assert_eq!(rig.opened(), [(4, "ws://proxy".to_owned())], "that is its name as well");
    rig.lose(4, 1006);
    rig.pass(100);
    assert_eq!(rig.opened(), [(5, "ws://b".to_owned())]);
}

#[test]
fn a_member_that_cannot_be_reached_does_no_harm() {
    let mut rig = Rig::cluster(3);
    rig.lose(3, 1006);
    let mut tries = 0;
    for _ in 0..100 {
        for (link, url) in rig.opened() {
            assert_eq!(url, "ws://c");
            rig.lose(link, 1006);
            tries += 1;
        }
        for link in [1, 2] {
            rig.session.handle_alive(rig.now(), LinkId(link));
        }
        rig.pass(100);
    }
    assert!((90..=100).contains(&tries), "{tries}");
    assert_eq!(rig.session.state(), State::Connected);
    assert_eq!(rig.home(), Some(1));
}

#[test]
fn two_names_of_one_server_make_one_link() {
    let mut rig = Rig::new("ws://localhost ws://127.0.0.1");
    rig.pass(250);
    rig.expect(&["open 1 ws://localhost", "open 2 ws://127.0.0.1"]);
    rig.open(1);
    rig.open(2);
    rig.welcome(1, r#","members":[{"node":1,"url":"ws://127.0.0.1"}]"#);
    rig.drain();
    rig.welcome(2, r#","members":[{"node":1,"url":"ws://127.0.0.1"}]"#);
    rig.expect(&["close 2 1000"]);
    rig.pass(1000);
    rig.expect(&[]);
    // Both names are tried.
    rig.lose(1, 1006);
    rig.pass(100);
    assert_eq!(rig.opened(), [(3, "ws://localhost".to_owned())]);
    rig.lose(3, 1006);
    rig.pass(100);
    assert_eq!(rig.opened(), [(4, "ws://127.0.0.1".to_owned())]);
}

#[test]
fn the_link_that_serves_is_kept_of_two_to_one_server() {
    let mut rig = Rig::new("ws://a ws://proxy");
    rig.pass(250);
    rig.open(2);
    rig.drain();
    // The link to `ws://a` is being opened still.
    rig.welcome(2, r#","members":[{"node":1,"url":"ws://a"}]"#);
    rig.expect(&["state connected"]);
    rig.open(1);
    rig.drain();
    rig.lookup("ann");
    rig.drain();
    rig.welcome(1, r#","members":[{"node":1,"url":"ws://a"}]"#);
    rig.expect(&["close 1 1000"]);
    assert_eq!(rig.home(), Some(2));
    rig.reply(2, 3, "UserAddress", "{}");
    rig.expect(&["done 1 ok {}"]);
}

#[test]
fn a_second_link_to_one_server_tells_of_a_new_life_too() {
    let mut rig = Rig::new("ws://a ws://proxy");
    rig.pass(250);
    rig.open(1);
    rig.open(2);
    rig.welcome(1, "");
    rig.connect("ann", 7);
    rig.reply(1, 3, "Connected", "{}");
    rig.drain();
    rig.welcome(2, r#","session":6"#);
    let said = rig.drain();
    assert_eq!(said[0], "close 2 1000");
    assert!(said[1].starts_with("1< ConnectUser#4"), "{said:?}");
}

/// Every server is named by one URL, behind which a load balancer chooses.
#[test]
fn a_url_that_leads_elsewhere_is_not_tried_without_end() {
    let all = r#","members":[{"node":1,"url":"ws://lb"},{"node":2,"url":"ws://lb"},
        {"node":3,"url":"ws://lb"}]"#;
    let mut rig = Rig::new("ws://lb");
    let mut opened = 0;
    let mut until = |rig: &mut Rig, ms, nodes: &[u64]| {
        let mut links = Vec::new();
        for _ in 0..ms / 50 {
            for (link, _) in rig.opened() {
                opened += 1;
                assert!(opened < 200, "without a pause");
                links.push(link);
                rig.open(link);
                let node = nodes[opened % nodes.len()];
                rig.welcome(link, &format!(r#","node":{node}{all}"#));
            }
            rig.session.handle_alive(rig.now(), LinkId(1));
            rig.pass(50);
        }
        links.len()
    };
    assert!(until(&mut rig, 1000, &[1]) < 25, "two, ten times a second");
    // Chance leads to each in the end, and then there is nothing more to try.
    assert!(until(&mut rig, 2000, &[1, 2, 3]) < 45);
    assert_eq!(rig.session.ready_links().count(), 3);
    assert_eq!(until(&mut rig, 1000, &[1]), 0);
    assert_eq!(rig.session.state(), State::Connected);
}

#[test]
fn a_url_may_lead_to_a_server_that_has_no_link_yet() {
    let mut rig = Rig::cluster(3);
    rig.lose(3, 1006);
    rig.lose(2, 1006);
    rig.pass(100);
    let opened = rig.opened();
    let at = |url: &str| opened.iter().find(|(_, it)| it == url).unwrap().0;
    let (b, c) = (at("ws://b"), at("ws://c"));
    rig.open(c);
    rig.drain();
    // `ws://c` leads to server 2, whose own link is being opened: that one is not needed.
    rig.join(c, 2);
    rig.expect(&[&format!("close {b} 1000")]);
    rig.pass(100);
    assert_eq!(rig.opened().last().unwrap().1, "ws://c", "server 3 is to be reached still");
    assert_eq!(rig.session.ready_links().count(), 2);
}

#[test]
fn a_removed_member_has_no_link() {
    let mut rig = Rig::cluster(3);
    rig.lose(2, 1006);
    rig.pass(100);
    rig.open(4);
    rig.drain();
    rig.welcome(4, &format!(r#","node":2,"members":[{}]"#, members([1, 2])));
    rig.expect(&["close 3 1000"]);
    rig.pass(1000);
    assert!(rig.opened().is_empty());
    // The home stays until it ends by itself.
    rig.lose(4, 1006);
    rig.pass(100);
    rig.open(5);
    rig.drain();
    rig.keep_pings = true; // It must not become the home by chance.
    rig.welcome(5, &format!(r#","node":2,"members":[{}]"#, members([2])));
    rig.expect(&["5< Ping#6 {}"]);
    assert_eq!(rig.home(), Some(1));
    rig.lose(1, 1001);
    assert_eq!(rig.home(), Some(5));
    rig.drain();
    rig.pass(1000);
    assert!(rig.opened().is_empty(), "it was a seed, and is spare now");
}

#[test]
fn a_token_may_be_refused_while_another_server_serves() {
    let mut rig = Rig::cluster(3);
    rig.lose(3, 4100);
    rig.expect(&[]);
    rig.pass(100);
    rig.expect(&["open 4 ws://c"]);
    rig.open(4);
    rig.refuse(4, 4, "unauthenticated", false);
    rig.expect(&[r#"4< Hello#4 {"session":5,"versions":[1]}"#, "close 4 1000"]);
    assert_eq!(rig.session.refusal(), None);
    rig.lookup("ann");
    rig.reply(1, 5, "UserAddress", "{}");
    assert_eq!(rig.drain()[1], "done 1 ok {}");
    assert_eq!(rig.session.state(), State::Connected);
    // The last one counts.
    rig.lose(1, 4100);
    assert_eq!(rig.home(), Some(2));
    rig.lose(2, 4100);
    assert!(rig.session.is_closed());
}

#[test]
fn a_token_is_asked_for_each_link() {
    let mut rig = Rig::with("ws://a", Token::Ask);
    rig.size = 3;
    rig.session.handle_token(rig.now(), LinkId(1), Ok(Some("one".into())));
    rig.open(1);
    rig.drain();
    rig.join(1, 1);
    rig.expect(&["state connected", "token 2", "token 3"]);
    rig.session.handle_token(rig.now(), LinkId(3), Ok(Some("three".into())));
    rig.session.handle_token(rig.now(), LinkId(2), Err("no".into()));
    rig.expect(&["open 3 ws://c"]);
    rig.open(3);
    rig.expect(&[r#"3< Hello#2 {"session":5,"token":"three","versions":[1]}"#]);
    rig.pass(100);
    rig.expect(&["token 4"]);
}

const OTHER: &str = r#","cluster":"d","session":9"#;

#[test]
fn a_server_of_another_cluster_does_not_take_over() {
    let mut rig = Rig::cluster(3);
    rig.connect("ann", 7);
    rig.reply(1, 4, "Connected", "{}");
    rig.lose(2, 1006);
    rig.lose(3, 1006);
    rig.pass(100);
    rig.open(4);
    rig.open(5);
    rig.drain();
    rig.welcome(4, OTHER);
    rig.expect(&["close 4 1000", "1< Ping#7 {}"]);
    rig.welcome(5, OTHER);
    rig.expect(&["close 5 1000"]); // It has been asked.
    rig.session.handle_alive(rig.now(), LinkId(1));
    rig.pass(3000);
    assert_eq!((rig.home(), rig.session.state()), (Some(1), State::Connected));
}

#[test]
fn a_cluster_that_lost_its_memory_is_told_of_everything_again() {
    let mut rig = Rig::cluster(3);
    rig.connect("ann", 7);
    rig.reply(1, 4, "Connected", "{}");
    rig.lose(2, 1006);
    rig.pass(100);
    rig.open(4);
    rig.drain();
    rig.welcome(4, OTHER);
    rig.expect(&["close 4 1000", "1< Ping#6 {}", "3< Ping#7 {}"]);
    // The home does not answer, and of the third nobody has heard that it restarted.
    rig.lose(3, 1006);
    rig.pass(1000);
    assert_eq!(rig.home(), None);
    let link = rig.opened().into_iter().find(|(_, url)| url == "ws://b").unwrap().0;
    rig.open(link);
    rig.drain();
    rig.welcome(link, &format!(r#","node":2{OTHER}"#));
    let said = rig.drain();
    let again = said.iter().filter(|line| line.contains("ConnectUser")).count();
    assert_eq!(again, 1, "{said:?}");
    rig.reply(link, 9, "Connected", "{}");
    rig.expect(&["renewed ann"]);
}

#[test]
fn a_takeover_that_every_link_tells_is_told_once() {
    let mut rig = Rig::cluster(3);
    rig.lose(3, 1006);
    rig.pass(100);
    let ann = r#"{"username":"ann","device":"default"}"#;
    rig.drain();
    rig.push(2, "SessionReplaced", ann);
    rig.expect(&["replaced ann"]);
    rig.push(1, "SessionReplaced", ann);
    rig.expect(&[]);
    rig.push(1, "SessionReplaced", ann);
    rig.push(2, "SessionReplaced", ann);
    rig.expect(&["replaced ann"]);
    // The fourth was being opened then. What it tells is news.
    rig.open(4);
    rig.join(4, 3);
    rig.drain();
    rig.push(4, "SessionReplaced", ann);
    rig.expect(&["replaced ann"]);
    rig.push(1, "SessionReplaced", ann);
    rig.push(2, "SessionReplaced", ann);
    rig.expect(&[]);
}

/// How often each link is the home, for many seeds.
fn homes(make: impl Fn(u64) -> Rig) -> [u32; 3] {
    let mut homes = [0; 3];
    for seed in 0..900 {
        homes[make(seed).home().unwrap() as usize - 1] += 1;
    }
    homes
}

#[track_caller]
fn assert_even(homes: [u32; 3]) {
    assert!(homes.iter().all(|count| (240..=360).contains(count)), "{homes:?}");
}

/// A rig with three links whose pings are answered after so many milliseconds each.
fn at_distances(seed: u64, distances_ms: [u64; 3]) -> Rig {
    let mut rig = Rig::seeded("ws://a", Token::None, seed);
    rig.size = 3;
    rig.keep_pings = true;
    rig.open(1);
    rig.join(1, 1);
    let pings = |rig: &mut Rig| -> Vec<(u64, u64)> {
        let ping = |line: String| {
            let (link, rest) = line.split_once("< Ping#")?;
            Some((link.parse().unwrap(), rest.split_once(' ')?.0.parse().unwrap()))
        };
        rig.drain().into_iter().filter_map(ping).collect()
    };
    let mut sent = pings(&mut rig);
    for link in [2, 3] {
        rig.open(link);
    }
    for link in [2, 3] {
        rig.join(link, link);
        sent.extend(pings(&mut rig));
    }
    sent.sort_by_key(|(link, _)| distances_ms[*link as usize - 1]);
    for (link, id) in sent {
        rig.pass(distances_ms[link as usize - 1] - rig.now_ms);
        rig.reply_to(link, id, "Pong", "{}");
    }
    rig
}

#[test]
fn clients_spread_evenly_over_servers_that_are_equally_near() {
    assert_even(homes(|seed| Rig::cluster_by(seed, 3)));
    assert_even(homes(|seed| at_distances(seed, [2, 2, 2])));
    assert_even(homes(|seed| at_distances(seed, [9, 5, 7])));
    assert_even(homes(|seed| at_distances(seed, [5, 9, 9])));
}

#[test]
fn a_server_that_comes_back_gets_its_share() {
    assert_even(homes(|seed| {
        let mut rig = Rig::cluster_by(seed, 3);
        rig.lose(2, 1006);
        rig.pass(100);
        let link = rig.opened()[0].0;
        rig.open(link);
        rig.join(link, 2);
        if rig.home() == Some(link) {
            rig.session.home = Some(LinkId(2));
        }
        rig
    }));
}

/// One that was met in a busy moment, as one is that comes back to many clients at once.
#[test]
fn a_server_that_seemed_far_gets_its_share_once_it_does_not() {
    let mut moved = 0;
    for seed in 0..900 {
        let mut rig = Rig::cluster_by(seed, 3);
        let away = [3, 1, 2][rig.home().unwrap() as usize - 1];
        rig.lose(away, 1006);
        rig.pass(100);
        let link = rig.opened()[0].0;
        rig.open(link);
        rig.keep_pings = true;
        rig.join(link, away);
        rig.pass(400);
        answer_ping(&mut rig, link);
        assert_ne!(rig.home(), Some(link), "it is far");
        // From time to time each is asked whether it is there.
        rig.pass(4999);
        for other in (1..=3).filter(|other| *other != away) {
            rig.session.handle_alive(rig.now(), LinkId(other));
        }
        rig.pass(1);
        answer_ping(&mut rig, link);
        moved += u32::from(rig.home() == Some(link));
        let home = rig.home();
        rig.pass(4999);
        for other in 1..=3 {
            rig.session.handle_alive(rig.now(), LinkId(other));
        }
        rig.pass(1);
        answer_ping(&mut rig, link);
        assert_eq!(rig.home(), home, "each has one chance");
    }
    assert!((240..=360).contains(&moved), "{moved}");
}

/// As it was for each whose home was met in a busy moment: a server that comes back would get all of them.
#[test]
fn a_home_that_seemed_far_is_looked_at_again() {
    let mut moved = 0;
    for (seed, still_far) in (0..900).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut rig = Rig::seeded("ws://a", Token::None, seed);
        (rig.size, rig.keep_pings) = (2, true);
        rig.open(1);
        rig.join(1, 1);
        rig.pass(400);
        answer_ping(&mut rig, 1);
        rig.open(2);
        rig.join(2, 2);
        answer_ping(&mut rig, 2);
        assert_eq!(rig.home(), Some(1), "not before it is known better");
        rig.pass(if still_far { 400 } else { 1 });
        answer_ping(&mut rig, 1);
        assert!(!still_far || rig.home() == Some(2));
        moved += u32::from(!still_far && rig.home() == Some(2));
    }
    assert!((360..=540).contains(&moved), "{moved}");
}

/// Answers the last `Ping` on a link.
fn answer_ping(rig: &mut Rig, link: u64) {
    let said = rig.drain();
    let ping = said.iter().rev().find_map(|line| line.strip_prefix(&format!("{link}< Ping#")));
    let id = ping.and_then(|rest| rest.split_once(' ')).unwrap_or_else(|| panic!("{said:?}")).0;
    rig.reply(link, id.parse().unwrap(), "Pong", "{}");
}

/// Of those whose server dies, and of those for whom it was one of several links.
#[test]
fn clients_come_back_to_a_server_one_by_one() {
    let mut seconds = [0; 5];
    for seed in 0..1000 {
        let mut rig = Rig::cluster_by(seed, 3);
        rig.session.backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(5000));
        rig.lose(1, 1006);
        for _ in 0..5000 / 10 {
            if !rig.opened().is_empty() {
                break;
            }
            for link in [2, 3] {
                rig.session.handle_alive(rig.now(), LinkId(link));
            }
            rig.pass(10);
        }
        assert!(rig.now_ms >= 100);
        seconds[(rig.now_ms as usize - 1) / 1000] += 1;
    }
    assert!(seconds.iter().all(|count| (150..250).contains(count)), "{seconds:?}");
}

#[test]
fn without_any_server_there_is_no_time_to_lose() {
    for seed in 0..100 {
        let mut rig = Rig::cluster_by(seed, 3);
        rig.session.backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(5000));
        for link in [2, 3, 1] {
            rig.lose(link, 1006);
        }
        assert!(rig.opened().is_empty(), "all at once is too soon");
        rig.pass(200);
        assert_eq!(rig.opened().len(), 1, "whatever was planned when others served");
        rig.pass(500);
        assert_eq!(rig.opened().len(), 2);
    }
}

#[test]
fn a_clearly_nearer_server_is_the_home() {
    assert_eq!(homes(|seed| at_distances(seed, [60, 60, 1])), [0, 0, 900]);
    assert_eq!(homes(|seed| at_distances(seed, [1, 60, 60])), [900, 0, 0]);
    let [near, also, far] = homes(|seed| at_distances(seed, [20, 25, 90]));
    assert!(far == 0 && near.abs_diff(also) < 120, "{near} {also}");
}

#[test]
fn what_is_late_is_asked_at_the_nearest_of_the_others() {
    let mut rig = at_distances(0, [1, 90, 30]);
    assert_eq!(rig.home(), Some(1));
    rig.lookup("ann");
    rig.drain();
    rig.pass(1000);
    let said = rig.drain();
    assert!(said[0].starts_with("3< GetUserAddress"), "{said:?}");
}

#[test]
fn a_welcome_with_many_members_opens_few_links() {
    let mut rig = Rig::new("ws://a");
    let mut opened = rig.opened();
    for round in 0..50 {
        let members = (0..2000).map(|at| {
            let node = 2 + (at + round * 8) % 2000;
            format!(r#"{{"node":{node},"url":"ws://{node}/{round}"}}"#)
        });
        let members = members.collect::<Vec<_>>().join(",");
        let (link, _) = opened.pop().unwrap();
        rig.open(link);
        rig.welcome(link, &format!(r#","members":[{members}]"#));
        rig.pass(100);
        opened.extend(rig.opened());
        let open = rig.session.links.len();
        assert!(open <= 12, "{open}");
    }
}
