//! Section 3: the fields every message has, and the errors about those fields.

use rollcall_tests::{
    server::Server,
    wire::{Client, failed},
};
use serde_json::{Value, json};

#[tokio::test]
async fn a_reply_names_the_request_and_the_server() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let reply = client.request_as(42, "GetSequenceNumber", json!({})).await;
    assert_eq!(reply["type"], "SequenceNumber");
    assert_eq!(reply["origin"], "server/1");
    assert_eq!(reply["id"], 42);
    assert!(reply["payload"].is_object());
}

#[tokio::test]
async fn ping_is_answered_with_pong() {
    let server = Server::start();
    let mut client = Client::anonymous(&server).await;
    client.send_text(r#"{"type":"Ping","id":7}"#).await;
    let reply = client.reply(7).await;
    assert_eq!(reply["type"], "Pong");
}

#[tokio::test]
async fn unknown_fields_are_ignored_everywhere() {
    let server = Server::start();
    let mut client = Client::anonymous(&server).await;
    let message = json!({
        "future": [1, {"a": null}], "type": "ConnectUser", "id": 1, "version": 9,
        "payload": {"username": "ann", "ip": "192.0.2.1", "port": 1, "color": {"deep": []}},
    });
    client.send_text(message.to_string()).await;
    assert_eq!(client.reply(1).await["type"], "Connected");
    for (id, kind) in ["Hello", "GetSequenceNumber", "GetStatus", "Ping"].iter().enumerate() {
        let reply = client.request_as(id as u64 + 2, kind, json!({ "later": 1 })).await;
        assert_ne!(reply["type"], "Error", "{reply}");
    }
}

#[tokio::test]
async fn the_payload_may_be_left_out_where_it_would_be_empty() {
    let server = Server::start();
    let mut client = Client::anonymous(&server).await;
    let kinds = ["Hello", "GetSequenceNumber", "GetStatus", "Ping"];
    for (id, kind) in (1..).zip(kinds) {
        client.send_text(json!({ "type": kind, "id": id }).to_string()).await;
        let reply = client.reply(id).await;
        assert_ne!(reply["type"], "Error", "{reply}");
    }
    // Where something is required, its absence is what is reported.
    client.send_text(r#"{"type":"GetUserAddress","id":9}"#).await;
    let error = failed("invalid_argument", &client.reply(9).await);
    assert_eq!(error["field"], "usernames");
}

#[tokio::test]
async fn the_order_of_fields_and_white_space_do_not_matter() {
    let server = Server::start();
    let mut client = Client::anonymous(&server).await;
    client
        .send_text("\n{ \"payload\" : { \"count\" :\t2 } ,\r\n \"id\" : 3, \"type\":\"GetSequenceNumber\" } ")
        .await;
    assert_eq!(client.reply(3).await["payload"], json!({ "first": 1, "count": 2 }));
    // Escapes in names of fields and types are JSON's business.
    client.send_text(r#"{"\u0074ype":"P\u0069ng","id":4}"#).await;
    assert_eq!(client.reply(4).await["type"], "Pong");
}

#[tokio::test]
async fn an_unknown_type_is_an_error_with_the_id_if_there_is_one() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let error = client.refused("FlyToTheMoon", json!({}), "unknown_type").await;
    assert_eq!(error["retry"], false);
    for text in
        [r#"{"type":"FlyToTheMoon"}"#, r#"{"type":"","id":"x"}"#, r#"{"type":"ping","id":0}"#]
    {
        client.send_text(text).await;
        assert_eq!(client.error_without_id().await["code"], "unknown_type", "{text}");
    }
    client.call("Ping", json!({})).await;
}

#[tokio::test]
async fn what_only_servers_say_is_an_unknown_type_from_a_client() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let replies = [
        "Welcome",
        "Connected",
        "Disconnected",
        "UserAddress",
        "Users",
        "SequenceNumber",
        "Subscribed",
        "Unsubscribed",
        "Status",
        "Pong",
        "Error",
        "UserConnected",
        "UserUpdated",
        "UserDisconnected",
        "SessionReplaced",
        "GoingAway",
    ];
    for kind in replies {
        let payload = json!({ "username": "ann", "device": "default", "revision": 1 });
        client.refused(kind, payload, "unknown_type").await;
    }
}

#[tokio::test]
async fn what_is_not_an_object_with_a_type_is_malformed() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let texts = [
        "",
        " ",
        "{",
        "}",
        "[]",
        "1",
        "null",
        "true",
        r#""Ping""#,
        r#"[{"type":"Ping","id":1}]"#,
        r#"{"type":"Ping","id":1}}"#,
        r#"{"type":"Ping","id":1} {"type":"Ping","id":2}"#,
        r#"{"type":"Ping","id":1,}"#,
        r#"{'type':'Ping','id':1}"#,
        r#"{"type":"Ping" "id":1}"#,
        r#"{"type":"Ping","id":01}"#,
        r#"{"type":"Ping","id":NaN}"#,
        "{}",
        r#"{"type":null}"#,
        r#"{"type":["Ping"]}"#,
        "{\"type\":\"Ping\",\"id\":1,\"x\":\"\u{1}\"}",
    ];
    for text in texts {
        client.send_text(text).await;
        let error = client.next().await;
        assert_eq!(error["payload"]["code"], "malformed", "{text:?} was answered {error}");
    }
    client.call("Ping", json!({})).await;
}

#[tokio::test]
async fn a_readable_id_is_named_even_without_a_type() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    client.send_text(r#"{"id":5,"payload":{}}"#).await;
    failed("malformed", &client.reply(5).await);
    client.send_text(r#"{"id":6,"type":7}"#).await;
    failed("malformed", &client.reply(6).await);
}

#[tokio::test]
async fn a_request_without_an_integer_id_is_malformed_and_not_executed() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let bad = [
        "null",
        r#""1""#,
        "0",
        "-1",
        "1.5",
        "true",
        "[1]",
        "{}",
        "9007199254740992",
        "18446744073709551616",
        "123456789012345678901234567890123456789",
        "1e400",
        "-9223372036854775809",
    ];
    let payload = r#""payload":{"username":"ann","ip":"192.0.2.1","port":1}"#;
    for id in bad {
        client.send_text(format!(r#"{{"type":"ConnectUser","id":{id},{payload}}}"#)).await;
        assert_eq!(client.error_without_id().await["code"], "malformed", "id {id}");
    }
    client.send_text(format!(r#"{{"type":"ConnectUser",{payload}}}"#)).await;
    assert_eq!(client.error_without_id().await["code"], "malformed");
    assert!(!client.is_online("ann").await);
}

#[tokio::test]
async fn ids_reach_from_one_to_the_largest_exact_integer() {
    let server = Server::start();
    for id in [1, 9_007_199_254_740_991] {
        let mut client = Client::new(&server).await;
        client.call_as(id, "GetSequenceNumber", json!({})).await;
        client.call_as(id, "Ping", json!({})).await;
    }
}

#[tokio::test]
async fn a_wrong_origin_is_an_invalid_argument() {
    let server = Server::start();
    let wrong = [
        json!("server/1"),
        json!("server/2"),
        json!("client/"),
        json!("client"),
        json!(""),
        json!("ann"),
        json!("Client/abc"),
        json!("client/a b"),
        json!("client/a/b"),
        json!("client/ä"),
        json!("client/a\u{0}"),
        json!(format!("client/{}", "x".repeat(65))),
        json!(7),
        json!(["client/a"]),
    ];
    for origin in wrong {
        let mut client = Client::anonymous(&server).await;
        let message = json!({ "type": "GetSequenceNumber", "origin": origin, "id": 1 });
        client.send_text(message.to_string()).await;
        let error = failed("invalid_argument", &client.reply(1).await);
        assert_eq!(error["field"], "origin", "{origin}");
    }
    let mut client = Client::new(&server).await;
    let number = client.call("GetSequenceNumber", json!({})).await;
    assert_eq!(number["first"], 1, "a refused request was carried out");
}

#[tokio::test]
async fn client_ids_use_the_whole_alphabet_up_to_64_characters() {
    let server = Server::start();
    for id in ["a", "AZ.az_09-", &"x".repeat(64)] {
        let mut client = Client::with_id(&server, id).await;
        let welcome = client.call("Hello", json!({})).await;
        assert_eq!(welcome["client"], id);
    }
}

#[tokio::test]
async fn a_link_belongs_to_the_client_of_its_first_message() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    client.register("ann", 1).await;
    for origin in ["client/somebody-else", "server/1"] {
        let message = json!({
            "type": "DisconnectUser", "origin": origin, "id": 50, "payload": {"username": "ann"},
        });
        client.send_text(message.to_string()).await;
        let error = failed("invalid_argument", &client.reply(50).await);
        assert_eq!(error["field"], "origin");
    }
    // Left out, it is the link's: this session may end what it registered.
    let message = json!({ "type": "DisconnectUser", "id": 51, "payload": {"username": "ann"} });
    client.send_text(message.to_string()).await;
    assert_eq!(client.reply(51).await["type"], "Disconnected");
}

#[tokio::test]
async fn a_client_without_an_origin_gets_an_id_for_that_link() {
    let server = Server::start();
    let mut first = Client::anonymous(&server).await;
    let mut second = Client::anonymous(&server).await;
    let id = |welcome: Value| welcome["client"].as_str().expect("it has one").to_owned();
    let first_id = id(first.call("Hello", json!({})).await);
    let second_id = id(second.call("Hello", json!({})).await);
    assert_ne!(first_id, second_id);
    for id in [&first_id, &second_id] {
        assert!((1..=64).contains(&id.len()), "{id}");
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)));
    }
    first.register("ann", 1).await;
    second.refused("DisconnectUser", json!({ "username": "ann" }), "not_owner").await;
}

#[tokio::test]
async fn an_id_from_the_server_is_the_links_and_may_be_said() {
    let server = Server::start();
    let mut client = Client::anonymous(&server).await;
    let welcome = client.call("Hello", json!({})).await;
    let own = welcome["client"].as_str().expect("it has one").to_owned();
    client.register("ann", 1).await;
    let leave = |id: u64, client: &str| {
        let payload = json!({ "username": "ann" });
        let origin = format!("client/{client}");
        json!({ "type": "DisconnectUser", "origin": origin, "id": id, "payload": payload })
    };
    client.send_text(leave(50, "other").to_string()).await;
    let error = failed("invalid_argument", &client.reply(50).await);
    assert_eq!(error["field"], "origin");
    assert!(client.is_online("ann").await, "a refused request was carried out");
    client.send_text(leave(51, &own).to_string()).await;
    assert_eq!(client.reply(51).await["type"], "Disconnected");
}

#[tokio::test]
async fn requests_sent_at_once_are_all_answered_and_writes_keep_their_order() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    let mut ids = Vec::new();
    for port in 1..=50 {
        let payload = json!({ "username": "ann", "ip": "192.0.2.1", "port": port });
        ids.push(client.submit("ConnectUser", payload).await);
        client.submit("Ping", json!({})).await;
    }
    let mut revisions = Vec::new();
    for id in ids {
        revisions.push(client.reply(id).await["payload"]["revision"].as_u64().expect("connected"));
    }
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
    let users = client.lookup(&["ann"]).await["users"].take();
    assert_eq!(users[0]["addresses"][0]["port"], 50);
}
