//! Section 4: which values the payload of a request may have, and the error that names the wrong field.

use rollcall_tests::{server::Server, wire::Client};
use serde_json::{Value, json};

/// A good `ConnectUser` with one field set to something else.
fn connect_with(field: &str, value: Value) -> Value {
    let mut payload = json!({ "username": "ann", "ip": "192.0.2.1", "port": 1 });
    payload[field] = value;
    payload
}

fn connect_without(field: &str) -> Value {
    let mut payload = json!({ "username": "ann", "ip": "192.0.2.1", "port": 1 });
    payload.as_object_mut().expect("it is one").remove(field);
    payload
}

/// Names that neither a user nor a device may have.
fn bad_names(bytes_max: usize) -> Vec<Value> {
    let mut names = vec![json!(7), json!(["ann"]), json!({}), json!(true), json!("")];
    names.push(json!("x".repeat(bytes_max + 1)));
    // Bytes count, not characters.
    names.push(json!("é".repeat(bytes_max / 2 + 1)));
    let white = ['\t', '\n', '\r', ' ', '\u{A0}', '\u{1680}', '\u{2003}', '\u{2028}', '\u{3000}'];
    let control = ['\0', '\u{1F}', '\u{7F}', '\u{85}', '\u{9F}'];
    for character in white.into_iter().chain(control) {
        names.push(json!(format!("a{character}b")));
    }
    names.extend([json!(" ann"), json!("ann ")]);
    names
}

#[tokio::test]
async fn a_username_is_visible_utf8_of_at_most_128_bytes() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    for name in bad_names(128) {
        let payload = connect_with("username", name.clone());
        client.refused_field("ConnectUser", payload, "invalid_argument", "username").await;
        let payload = json!({ "username": name });
        client.refused_field("DisconnectUser", payload, "invalid_argument", "username").await;
        for kind in ["GetUserAddress", "Subscribe"] {
            let payload = json!({ "usernames": ["bob", name] });
            client.refused_field(kind, payload, "invalid_argument", "usernames").await;
        }
    }
    for kind in ["ConnectUser", "DisconnectUser"] {
        let payload = connect_without("username");
        client.refused_field(kind, payload, "invalid_argument", "username").await;
    }
    for name in ["a", "名前", "{}\"\\", "👩‍👩‍👧", &"x".repeat(128), &"é".repeat(64)]
    {
        client.register(name, 1).await;
        let users = client.lookup(&[name]).await["users"].take();
        assert_eq!(users[0]["username"], name);
        client.unregister(name).await;
    }
}

#[tokio::test]
async fn a_device_follows_the_same_rules_with_64_bytes() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    for name in bad_names(64) {
        let payload = connect_with("device", name.clone());
        client.refused_field("ConnectUser", payload, "invalid_argument", "device").await;
        let payload = json!({ "username": "ann", "device": name });
        client.refused_field("DisconnectUser", payload, "invalid_argument", "device").await;
    }
    for name in ["d", &"x".repeat(64), &"é".repeat(32)] {
        let connected = client.call("ConnectUser", connect_with("device", json!(name))).await;
        assert_eq!(connected["device"], name);
        let payload = json!({ "username": "ann", "device": name });
        assert_eq!(client.call("DisconnectUser", payload).await["device"], name);
    }
}

#[tokio::test]
async fn names_compare_bytewise() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    // The same letter, composed and decomposed; and upper and lower case.
    for (port, name) in (1..).zip(["\u{e9}", "e\u{301}", "Ann", "ann"]) {
        client.register(name, port).await;
    }
    for (port, name) in (1..).zip(["\u{e9}", "e\u{301}", "Ann", "ann"]) {
        let users = client.lookup(&[name]).await["users"].take();
        assert_eq!(users[0]["addresses"][0]["port"], port, "{name:?}");
    }
    assert_eq!(client.lookup(&["ANN"]).await["unknown"], json!(["ANN"]));
}

#[tokio::test]
async fn an_ip_is_a_literal_of_either_family() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let bad = [
        json!(""),
        json!("localhost"),
        json!("example.org"),
        json!("1.2.3"),
        json!("1.2.3.4.5"),
        json!("256.1.1.1"),
        json!("01.2.3.4"),
        json!("0x7f.0.0.1"),
        json!(" 1.2.3.4"),
        json!("1.2.3.4:80"),
        json!("1.2.3.4/8"),
        json!("[::1]"),
        json!("::g"),
        json!(":::"),
        json!("1:2:3:4:5:6:7:8:9"),
        json!("Observed"),
        json!(16909060),
        json!(["1.2.3.4"]),
        json!({}),
    ];
    for ip in bad {
        let payload = connect_with("ip", ip);
        client.refused_field("ConnectUser", payload, "invalid_argument", "ip").await;
    }
    let payload = connect_without("ip");
    client.refused_field("ConnectUser", payload, "invalid_argument", "ip").await;
    assert!(!client.is_online("ann").await);
    for ip in ["0.0.0.0", "203.0.113.7", "255.255.255.255", "::", "::1", "2001:db8::1"] {
        client.call("ConnectUser", connect_with("ip", json!(ip))).await;
        let users = client.lookup(&["ann"]).await["users"].take();
        assert_eq!(users[0]["addresses"][0]["ip"], ip);
    }
}

#[tokio::test]
async fn an_observed_ip_is_the_one_the_server_sees() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    client.call("ConnectUser", connect_with("ip", json!("observed"))).await;
    let users = client.lookup(&["ann"]).await["users"].take();
    assert_eq!(users[0]["addresses"][0]["ip"], "127.0.0.1");
}

#[tokio::test]
async fn a_port_is_an_integer_from_1_to_65535() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    for port in ["0", "65536", "-1", "1.5", "\"80\"", "true", "[80]", "{}", "18446744073709551616"]
    {
        let port: Value = serde_json::from_str(port).expect("it is JSON");
        let payload = connect_with("port", port);
        client.refused_field("ConnectUser", payload, "invalid_argument", "port").await;
    }
    let payload = connect_without("port");
    client.refused_field("ConnectUser", payload, "invalid_argument", "port").await;
    assert!(!client.is_online("ann").await);
    for port in [1, 65535] {
        client.call("ConnectUser", connect_with("port", json!(port))).await;
        let users = client.lookup(&["ann"]).await["users"].take();
        assert_eq!(users[0]["addresses"][0]["port"], port);
    }
}

#[tokio::test]
async fn meta_is_an_object() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    for meta in [json!([]), json!("x"), json!(1), json!(true), json!([{}])] {
        let payload = connect_with("meta", meta);
        client.refused_field("ConnectUser", payload, "invalid_argument", "meta").await;
    }
    let meta = json!({ "a": [1, -2, null, true, {"b": "\" \\ é \u{1F600}"}], "": {} });
    client.call("ConnectUser", connect_with("meta", meta.clone())).await;
    let users = client.lookup(&["ann"]).await["users"].take();
    assert_eq!(users[0]["addresses"][0]["meta"], meta);
}

#[tokio::test]
async fn meta_has_at_most_1024_bytes_in_compact_form() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let meta = |bytes: usize| json!({ "k": "x".repeat(bytes - r#"{"k":""}"#.len()) });
    assert_eq!(meta(1024).to_string().len(), 1024);
    client.call("ConnectUser", connect_with("meta", meta(1024))).await;
    let error = client.refused("ConnectUser", connect_with("meta", meta(1025)), "too_large").await;
    assert_eq!(error["retry"], false);
    client.refused("ConnectUser", connect_with("meta", meta(100_000)), "too_large").await;
    // Bytes count, not characters: this has 1025 of them but far fewer letters.
    let letters = json!({ "k": format!("{}x", "é".repeat(508)) });
    assert_eq!(letters.to_string().len(), 1025);
    client.refused("ConnectUser", connect_with("meta", letters), "too_large").await;
}

#[tokio::test]
async fn white_space_between_tokens_of_meta_does_not_count() {
    let server = Server::start();
    let mut client = Client::anonymous(&server).await;
    let meta = json!({ "k": "x".repeat(1024 - r#"{"k":""}"#.len()) }).to_string();
    let roomy = meta.replacen(':', &format!(" :{}\n\t", " ".repeat(3000)), 1);
    let message = format!(
        r#"{{"type":"ConnectUser","id":1,"payload":{{"username":"ann","ip":"::1","port":1,"meta":{roomy}}}}}"#
    );
    client.send_text(message).await;
    assert_eq!(client.reply(1).await["type"], "Connected");
    // White space within a string does count.
    let meta = json!({ "k": " ".repeat(1025 - r#"{"k":""}"#.len()) });
    client.skip_ids_to(1);
    client.refused("ConnectUser", connect_with("meta", meta), "too_large").await;
}

#[tokio::test]
async fn a_count_is_an_integer_from_1_to_10000() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    for count in ["0", "10001", "-1", "1.5", "\"1\"", "[]", "99999999999999999999"] {
        let count: Value = serde_json::from_str(count).expect("it is JSON");
        let payload = json!({ "count": count });
        client.refused_field("GetSequenceNumber", payload, "invalid_argument", "count").await;
    }
    let numbers = client.call("GetSequenceNumber", json!({ "count": 10000 })).await;
    assert_eq!(numbers, json!({ "first": 1, "count": 10000 }));
    let numbers = client.call("GetSequenceNumber", json!({ "count": 1 })).await;
    assert_eq!(numbers, json!({ "first": 10001, "count": 1 }));
}

#[tokio::test]
async fn a_list_has_1_to_1000_names() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let names = |count: usize| (0..count).map(|n| format!("user-{n}")).collect::<Vec<_>>();
    for kind in ["GetUserAddress", "Subscribe"] {
        let bad =
            [json!([]), json!(names(1001)), json!("ann"), json!({}), json!(1), json!([["ann"]])];
        for usernames in bad {
            let payload = json!({ "usernames": usernames });
            client.refused_field(kind, payload, "invalid_argument", "usernames").await;
        }
        client.call(kind, json!({ "usernames": names(1000) })).await;
        client.call(kind, json!({ "usernames": names(1) })).await;
    }
    client.refused_field("GetUserAddress", json!({}), "invalid_argument", "usernames").await;
}

#[tokio::test]
async fn a_subscription_wants_exactly_one_filter() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let bad = [
        json!({}),
        json!({ "since": 1 }),
        json!({ "all": false }),
        json!({ "all": true, "prefix": "a" }),
        json!({ "all": true, "usernames": ["ann"] }),
        json!({ "prefix": "a", "usernames": ["ann"] }),
        json!({ "prefix": "a", "usernames": ["ann"], "all": true }),
    ];
    for payload in bad {
        client.refused("Subscribe", payload, "invalid_argument").await;
    }
    for all in [json!(1), json!("true"), json!({})] {
        let payload = json!({ "all": all });
        client.refused_field("Subscribe", payload, "invalid_argument", "all").await;
    }
    for prefix in [json!(""), json!("x".repeat(129)), json!("é".repeat(65)), json!(1), json!([])] {
        let payload = json!({ "prefix": prefix });
        client.refused_field("Subscribe", payload, "invalid_argument", "prefix").await;
    }
    client.call("Subscribe", json!({ "prefix": "x".repeat(128) })).await;
    for since in ["-1", "1.5", "\"1\"", "[]", "true"] {
        let since: Value = serde_json::from_str(since).expect("it is JSON");
        let payload = json!({ "all": true, "since": since });
        client.refused_field("Subscribe", payload, "invalid_argument", "since").await;
    }
}

#[tokio::test]
async fn unsubscribe_wants_a_number_that_stands() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    for payload in [json!({}), json!({ "subscription": "1" }), json!({ "subscription": -1 })] {
        client.refused_field("Unsubscribe", payload, "invalid_argument", "subscription").await;
    }
    for number in [1, 99] {
        client.refused("Unsubscribe", json!({ "subscription": number }), "not_found").await;
    }
}

#[tokio::test]
async fn hello_wants_version_1_among_the_versions() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    for versions in [json!([]), json!([2]), json!([0, 3]), json!("1"), json!(1), json!(["1"])] {
        let payload = json!({ "versions": versions });
        client.refused_field("Hello", payload, "invalid_argument", "versions").await;
    }
    for versions in [json!([1]), json!([2, 1]), json!([1, 99])] {
        let welcome = client.call("Hello", json!({ "versions": versions })).await;
        assert_eq!(welcome["version"], 1);
    }
    let payload = json!({ "token": 7 });
    client.refused_field("Hello", payload, "invalid_argument", "token").await;
}

#[tokio::test]
async fn a_payload_is_an_object() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let kinds = [
        "Hello",
        "ConnectUser",
        "DisconnectUser",
        "GetUserAddress",
        "GetSequenceNumber",
        "Subscribe",
        "Unsubscribe",
    ];
    for kind in kinds {
        for payload in [json!([]), json!("x"), json!(5), json!(true), json!([{"count": 1}])] {
            client.refused_field(kind, payload, "invalid_argument", "payload").await;
        }
    }
}
