//! Broken, foreign and oversized frames: each link gets the close code it deserves, the server goes on.

use rollcall_tests::{
    MESSAGE_BYTES_MAX,
    raw::{
        BINARY, CLOSE, CONTINUATION, FINAL, Frame, PING, PONG, RawLink, TEXT, encode_frame,
        frame_header,
    },
    server::Server,
    wire::Client,
};
use serde_json::{Value, json};

const PING_TEXT: &str = r#"{"type":"Ping","id":1}"#;

/// Sends bytes on a fresh link and returns the code the server closes it with.
async fn close_code_for(server: &Server, bytes: &[u8]) -> Option<u16> {
    let mut link = RawLink::upgrade(server).await;
    link.send(bytes).await;
    link.close_code().await
}

/// A `Ping` that is exactly this long.
fn padded_ping(bytes: usize) -> String {
    let bare = r#"{"type":"Ping","id":1,"pad":""}"#;
    format!(r#"{{"type":"Ping","id":1,"pad":"{}"}}"#, "x".repeat(bytes - bare.len()))
}

#[tokio::test]
async fn a_binary_frame_closes_with_1003() {
    let server = Server::start();
    for payload in [PING_TEXT.as_bytes(), b"", b"\xFF\x00"] {
        let code = close_code_for(&server, &encode_frame(FINAL | BINARY, payload)).await;
        assert_eq!(code, Some(1003));
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_closes_with_1007() {
    let server = Server::start();
    let texts: [&[u8]; 5] = [
        b"\xFF",
        b"{\"type\":\"Ping\",\"id\":1,\"x\":\"\xC3\"}",
        b"\xC0\x80",
        b"\xED\xA0\x80",
        b"cut short \xE2\x82",
    ];
    for text in texts {
        let code = close_code_for(&server, &encode_frame(FINAL | TEXT, text)).await;
        assert_eq!(code, Some(1007), "{text:?}");
    }
    let mut link = RawLink::upgrade(&server).await;
    link.send_frame(TEXT, b"valid until \xE2\x82").await;
    link.send_frame(FINAL | CONTINUATION, b"here").await;
    assert_eq!(link.close_code().await, Some(1007));
}

#[tokio::test]
async fn a_message_may_have_256_kib_and_not_a_byte_more() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    client.send_text(padded_ping(MESSAGE_BYTES_MAX)).await;
    assert_eq!(client.reply(1).await["type"], "Pong");
    client.try_send_text(padded_ping(MESSAGE_BYTES_MAX + 1)).await;
    client.expect_close(1009).await;
}

#[tokio::test]
async fn the_parts_of_a_message_count_together() {
    let server = Server::start();
    let text = padded_ping(MESSAGE_BYTES_MAX + 1);
    let (head, tail) = text.as_bytes().split_at(200_000);
    let mut link = RawLink::upgrade(&server).await;
    link.send_frame(TEXT, head).await;
    link.send_frame(FINAL | CONTINUATION, tail).await;
    assert_eq!(link.close_code().await, Some(1009));
    let text = padded_ping(MESSAGE_BYTES_MAX);
    let (head, tail) = text.as_bytes().split_at(200_000);
    let mut link = RawLink::upgrade(&server).await;
    link.send_frame(TEXT, head).await;
    link.send_frame(FINAL | CONTINUATION, tail).await;
    assert!(link.text().await.is_some_and(|text| text.contains("Pong")));
}

#[tokio::test]
async fn a_length_alone_is_enough_to_refuse_a_frame() {
    let server = Server::start();
    let before = server.resident_kib();
    for length in [MESSAGE_BYTES_MAX as u64 + 1, 1 << 31, 1 << 40, i64::MAX as u64] {
        let mut bytes = frame_header(FINAL | TEXT, 0x80, length);
        bytes.extend([1, 2, 3, 4, 5]);
        let code = close_code_for(&server, &bytes).await;
        assert_eq!(code, Some(1009), "{length} bytes announced");
    }
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for messages that never came");
}

#[tokio::test]
async fn breaking_the_protocol_closes_with_1002() {
    let server = Server::start();
    let unmasked = [frame_header(FINAL | TEXT, 0, 22), PING_TEXT.into()].concat();
    let in_the_middle = [encode_frame(TEXT, b"{"), encode_frame(FINAL | TEXT, b"}")].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("an unmasked frame", unmasked),
        ("a reserved bit", encode_frame(FINAL | 0x40 | TEXT, PING_TEXT.as_bytes())),
        ("another reserved bit", encode_frame(FINAL | 0x10 | TEXT, PING_TEXT.as_bytes())),
        ("a reserved data opcode", encode_frame(FINAL | 0x3, b"")),
        ("a reserved control opcode", encode_frame(FINAL | 0xB, b"")),
        ("a fragmented ping", encode_frame(PING, b"")),
        ("a long ping", encode_frame(FINAL | PING, &[b'x'; 126])),
        ("a continuation of nothing", encode_frame(FINAL | CONTINUATION, b"}")),
        ("a message within a message", in_the_middle),
        ("a close with half a code", encode_frame(FINAL | CLOSE, &[3])),
        ("a close with a code nobody may send", encode_frame(FINAL | CLOSE, &[3, 238])),
        ("a close with a code below all", encode_frame(FINAL | CLOSE, &[0, 0])),
    ];
    for (what, bytes) in cases {
        let code = close_code_for(&server, &bytes).await;
        assert_eq!(code, Some(1002), "{what}");
    }
}

#[tokio::test]
async fn a_goodbye_is_answered_with_the_same_code() {
    let server = Server::start();
    for code in [1000_u16, 1001, 3000, 4999] {
        let mut link = RawLink::upgrade(&server).await;
        link.send_frame(FINAL | CLOSE, &code.to_be_bytes()).await;
        assert_eq!(link.close_code().await, Some(code));
    }
    let mut link = RawLink::upgrade(&server).await;
    link.send_frame(FINAL | CLOSE, b"").await;
    assert_eq!(link.frame().await.map(|frame| frame.opcode), Some(CLOSE));
}

#[tokio::test]
async fn fragments_with_pings_between_them_are_one_message() {
    let server = Server::start();
    let mut link = RawLink::upgrade(&server).await;
    let text = json!({ "type": "ConnectUser", "id": 1, "payload": {
        "username": "ünïcödé", "ip": "::1", "port": 1,
    }});
    let text = text.to_string().into_bytes();
    // One byte at a time, so that letters are cut too, with an empty part and pings in between.
    link.send_frame(TEXT, &text[..1]).await;
    link.send_frame(CONTINUATION, b"").await;
    for byte in &text[1..] {
        link.send_frame(CONTINUATION, &[*byte]).await;
    }
    link.send_frame(FINAL | PING, b"are you there").await;
    link.send_frame(FINAL | CONTINUATION, b"").await;
    let pong = link.frame().await.expect("a pong");
    let expected = Frame { is_final: true, opcode: PONG, payload: b"are you there".into() };
    assert_eq!(pong, expected);
    let reply: Value = serde_json::from_str(&link.text().await.expect("a reply")).expect("JSON");
    assert_eq!(reply["payload"]["username"], "ünïcödé");
}

#[tokio::test]
async fn frames_may_trickle_in_byte_by_byte_or_many_at_once() {
    let server = Server::start();
    let mut link = RawLink::upgrade(&server).await;
    for byte in encode_frame(FINAL | TEXT, PING_TEXT.as_bytes()) {
        link.send(&[byte]).await;
    }
    assert!(link.text().await.is_some_and(|text| text.contains("Pong")));
    let many: Vec<u8> = (2..500)
        .flat_map(|id| {
            let text = json!({ "type": "Ping", "id": id }).to_string();
            encode_frame(FINAL | TEXT, text.as_bytes())
        })
        .collect();
    link.send(&many).await;
    for _ in 2..500 {
        assert!(link.text().await.is_some_and(|text| text.contains("Pong")));
    }
}

#[tokio::test]
async fn an_unasked_pong_is_ignored() {
    let server = Server::start();
    let mut link = RawLink::upgrade(&server).await;
    link.send_frame(FINAL | PONG, b"nobody asked").await;
    link.send_text(PING_TEXT).await;
    assert!(link.text().await.is_some_and(|text| text.contains("Pong")));
}

#[tokio::test]
async fn links_cut_in_the_middle_of_anything_leave_nothing_behind() {
    let server = Server::start();
    let whole = encode_frame(FINAL | TEXT, padded_ping(70_000).as_bytes());
    for end in [1, 2, 3, 9, 13, 14, 15, 1000, 69_999] {
        let mut link = RawLink::upgrade(&server).await;
        link.send(&whole[..end]).await;
        drop(link);
    }
    let mut client = Client::new(&server).await;
    client.call("Ping", json!({})).await;
}
