//! Every fault a message can have, and the error the contract gives it.

use proptest::prelude::*;

use super::*;
use crate::codec::encode;

/// What `text` is answered with: the code, the field and the id.
fn check(text: &str) -> (Option<ErrorCode>, Option<String>, Option<u64>) {
    let incoming = match Incoming::parse(text) {
        Ok(incoming) => incoming,
        Err(rejected) => {
            let id = rejected.id.map(|id| id.0);
            return (Some(rejected.error.code), rejected.error.field, id);
        }
    };
    let id = Some(incoming.id.0);
    match incoming.request() {
        Ok(_) => (None, None, id),
        Err(error) => (Some(error.code), error.field, id),
    }
}

fn payload(kind: &str, payload: &str) -> (Option<ErrorCode>, Option<String>) {
    let text = format!(r#"{{"type":"{kind}","id":7,"payload":{payload}}}"#);
    let (code, field, id) = check(&text);
    assert_eq!(id, Some(7), "{text}");
    (code, field)
}

#[test]
fn what_is_not_a_message_is_malformed() {
    let deep = format!(r#"{{"type":{}1{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    for text in ["", "x", "[]", "1", "null", r#""Ping""#, r#"["Ping",null,1]"#, "{", "{}{}", &deep]
    {
        assert_eq!(check(text), (Some(ErrorCode::Malformed), None, None), "{text:.40}");
    }
    assert_eq!(check(r#"{"id":3}"#), (Some(ErrorCode::Malformed), None, Some(3)));
    assert_eq!(check(r#"{"type":5,"id":3}"#), (Some(ErrorCode::Malformed), None, Some(3)));
    let twice = r#"{"type":"Ping","type":"Ping","id":3}"#;
    assert_eq!(check(twice).0, Some(ErrorCode::Malformed));
}

#[test]
fn a_request_needs_an_integer_id() {
    for id in ["", r#","id":null"#, r#","id":"1""#, r#","id":0"#, r#","id":-1"#, r#","id":1.0"#] {
        let text = format!(r#"{{"type":"Ping"{id}}}"#);
        assert_eq!(check(&text), (Some(ErrorCode::Malformed), None, None), "{text}");
    }
    for (id, good) in [("9007199254740991", true), ("9007199254740992", false), ("1e999", false)] {
        let text = format!(r#"{{"type":"Ping","id":{id}}}"#);
        assert_eq!(check(&text).0.is_none(), good, "{text}");
    }
}

#[test]
fn an_unknown_type_is_said_so_even_without_id() {
    for tag in ["Nope", "ping", "Welcome", "UserConnected", ""] {
        let text = format!(r#"{{"type":"{tag}"}}"#);
        assert_eq!(check(&text), (Some(ErrorCode::UnknownType), None, None), "{text}");
        let text = format!(r#"{{"type":"{tag}","id":"x"}}"#);
        assert_eq!(check(&text), (Some(ErrorCode::UnknownType), None, None), "{text}");
        let text = format!(r#"{{"type":"{tag}","id":4,"payload":[]}}"#);
        assert_eq!(check(&text), (Some(ErrorCode::UnknownType), None, Some(4)), "{text}");
    }
}

#[test]
fn an_origin_is_a_client() {
    for origin in [r#""server/1""#, r#""client/""#, r#""client/a b""#, r#""x""#, "5", "null"] {
        let text = format!(r#"{{"type":"Ping","id":1,"origin":{origin}}}"#);
        let expected = (Some(ErrorCode::InvalidArgument), Some("origin".into()), Some(1));
        assert_eq!(check(&text), expected, "{text}");
    }
    assert_eq!(check(r#"{"type":"Ping","id":1,"origin":"client/a.B_-9"}"#).0, None);
}

#[test]
fn a_payload_is_an_object() {
    for raw in ["[]", "1", "null", r#""x""#, "true"] {
        let expected = (Some(ErrorCode::InvalidArgument), Some("payload".into()));
        assert_eq!(payload("Ping", raw), expected, "{raw}");
    }
    assert_eq!(payload("Ping", r#" {"later":"field"}"#), (None, None));
}

#[test]
fn a_fault_names_its_field() {
    let long = format!(r#"{{"username":"{}","ip":"::1","port":1}}"#, "x".repeat(129));
    let many = format!(r#"{{"usernames":[{}"a"]}}"#, r#""b","#.repeat(1000));
    for (kind, raw, field) in [
        ("ConnectUser", r"{}", "username"),
        ("ConnectUser", long.as_str(), "username"),
        ("ConnectUser", r#"{"username":"a\u0000","ip":"::1","port":1}"#, "username"),
        ("ConnectUser", r#"{"username":["a"],"ip":"::1","port":1}"#, "username"),
        ("ConnectUser", r#"{"username":"a","port":1}"#, "ip"),
        ("ConnectUser", r#"{"username":"a","ip":"localhost","port":1}"#, "ip"),
        ("ConnectUser", r#"{"username":"a","ip":"fe80::1%eth0","port":1}"#, "ip"),
        ("ConnectUser", r#"{"username":"a","ip":"::1"}"#, "port"),
        ("ConnectUser", r#"{"username":"a","ip":"::1","port":0}"#, "port"),
        ("ConnectUser", r#"{"username":"a","ip":"::1","port":65536}"#, "port"),
        ("ConnectUser", r#"{"username":"a","ip":"::1","port":-1}"#, "port"),
        ("ConnectUser", r#"{"username":"a","ip":"::1","port":"1"}"#, "port"),
        ("ConnectUser", r#"{"username":"a","ip":"::1","port":1,"device":""}"#, "device"),
        ("ConnectUser", r#"{"username":"a","ip":"::1","port":1,"device":null}"#, "device"),
        ("ConnectUser", r#"{"username":"a","ip":"::1","port":1,"meta":[]}"#, "meta"),
        ("ConnectUser", r#"{"username":"a","ip":"::1","port":1,"meta":null}"#, "meta"),
        ("DisconnectUser", r#"{"username":" "}"#, "username"),
        ("GetUserAddress", r"{}", "usernames"),
        ("GetUserAddress", r#"{"usernames":[]}"#, "usernames"),
        ("GetUserAddress", r#"{"usernames":["a",5]}"#, "usernames"),
        ("GetUserAddress", many.as_str(), "usernames"),
        ("GetSequenceNumber", r#"{"count":0}"#, "count"),
        ("GetSequenceNumber", r#"{"count":10001}"#, "count"),
        ("GetSequenceNumber", r#"{"count":1.5}"#, "count"),
        ("Subscribe", r#"{"all":false}"#, "all"),
        ("Subscribe", r#"{"all":true,"prefix":"a"}"#, "all"),
        ("Subscribe", r#"{"usernames":["a"],"prefix":"a"}"#, "prefix"),
        ("Subscribe", r#"{"prefix":""}"#, "prefix"),
        ("Subscribe", r#"{"all":true,"since":-1}"#, "since"),
        ("Subscribe", r"{}", "usernames"),
        ("Unsubscribe", r"{}", "subscription"),
        ("Hello", r#"{"versions":[2]}"#, "versions"),
        ("Hello", r#"{"versions":[]}"#, "versions"),
        ("Hello", r#"{"token":5}"#, "token"),
        ("Hello", r#"{"session":"x"}"#, "session"),
    ] {
        let expected = (Some(ErrorCode::InvalidArgument), Some(field.to_owned()));
        assert_eq!(payload(kind, raw), expected, "{kind} {raw:.80}");
    }
}

#[test]
fn an_error_quotes_little_of_what_was_sent() {
    let long = "x".repeat(200_000);
    for text in [
        format!(r#"{{"type":"{long}"}}"#),
        format!(r#"{{"type":"Ping","id":1,"origin":"{long}"}}"#),
        format!(r#"{{"type":"Ping","id":"{long}"}}"#),
        format!(r#"{{"type":"ConnectUser","id":1,"payload":{{"username":"a","port":"{long}"}}}}"#),
        format!(r#"{{"type":"Unsubscribe","id":1,"payload":"{long}"}}"#),
    ] {
        let error = match Incoming::parse(&text) {
            Ok(incoming) => incoming.request().unwrap_err(),
            Err(rejected) => rejected.error,
        };
        assert!(error.message.len() < 1000, "{:.80}", error.message);
    }
}

#[test]
fn meta_over_its_limit_is_too_large() {
    let meta = format!(r#"{{"a":"{}"}}"#, "x".repeat(1025 - 8));
    let raw = format!(r#"{{"username":"a","ip":"::1","port":1,"meta":{meta}}}"#);
    assert_eq!(payload("ConnectUser", &raw), (Some(ErrorCode::TooLarge), Some("meta".into())));
}

#[test]
fn names_given_twice_count_once() {
    let text = r#"{"type":"GetUserAddress","id":1,"payload":{"usernames":["b","a","b"]}}"#;
    let Ok(Request::GetUserAddress(lookup)) = Incoming::parse(text).unwrap().request() else {
        panic!("a lookup");
    };
    let names: Vec<_> = lookup.usernames.iter().map(Username::as_str).collect();
    assert_eq!(names, ["a", "b"]);
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn no_text_of_the_right_letters_panics(text in r#"[{}\[\]",:0-9a-eINtypoduser \\]{0,80}"#) {
        check(&text);
    }

    #[test]
    fn what_is_encoded_is_read_again(
        username in r"\PC{1,20}", device in r"[a-z]{1,8}", ip: IpAddr, port in 1_u16..,
    ) {
        prop_assume!(Username::new(&username).is_ok());
        let request = Request::ConnectUser(ConnectUser {
            username: Username::new(&username).unwrap(),
            ip: Ip::Literal(ip),
            port,
            device: Device::new(&device).unwrap(),
            meta: Some(Meta::new(r#"{"a":[1]}"#).unwrap()),
        });
        let text = encode(request.kind().tag(), Some("client/x"), Some(RequestId(9)), &request);
        let incoming = Incoming::parse(&text).unwrap();
        prop_assert_eq!(incoming.id, RequestId(9));
        prop_assert_eq!(incoming.request().unwrap(), request);
    }
}
