//! Plain HTTP on the same port: console, browser client, metrics, health.

use rollcall_tests::{
    http::{Response, exchange, get, request},
    server::Server,
    wire::Client,
};
use serde_json::json;

fn policy(response: &Response) -> Vec<(String, Vec<String>)> {
    let header = response.header("content-security-policy").expect("a policy");
    let directives = header.split(';').map(str::split_whitespace);
    directives
        .filter_map(|mut words| {
            Some((words.next()?.to_owned(), words.map(str::to_owned).collect()))
        })
        .collect()
}

fn sources(response: &Response, directive: &str) -> Vec<String> {
    let policy = policy(response);
    let of = |name: &str| policy.iter().find(|(other, _)| other == name).cloned();
    of(directive).or_else(|| of("default-src")).expect("default-src at least").1
}

#[tokio::test]
async fn the_console_comes_with_a_strict_policy() {
    let server = Server::start();
    let page = get(&server, "/").await;
    assert_eq!(page.status, 200);
    let kind = page.header("content-type").expect("a type");
    assert!(kind.starts_with("text/html"), "{kind}");
    assert!(page.text().to_ascii_lowercase().contains("<!doctype html>"));
    let scripts = sources(&page, "script-src");
    assert!(scripts.contains(&"'wasm-unsafe-eval'".to_owned()), "{scripts:?}");
    for directive in ["script-src", "default-src", "style-src", "object-src"] {
        let allowed = sources(&page, directive);
        for loose in ["'unsafe-inline'", "'unsafe-eval'", "*", "data:", "http:", "https:"] {
            assert!(!allowed.contains(&loose.to_owned()), "{directive} {allowed:?}");
        }
    }
    let connect = sources(&page, "connect-src");
    let origin = server.url().trim_end_matches("/ws").to_owned();
    let reached = connect.iter().any(|source| source.starts_with(&origin) || source == "'self'");
    assert!(reached, "{connect:?}");
}

#[tokio::test]
async fn the_policy_lets_the_console_connect_to_every_member() {
    for (url, source) in [
        ("wss://rollcall.example.org/ws", "wss://rollcall.example.org"),
        ("ws://192.0.2.7:7101/ws", "ws://192.0.2.7:7101"),
        // A source with a path would match no other path.
        ("wss://example.org/rollcall/ws", "wss://example.org"),
    ] {
        let server = Server::advertised(url, &[]);
        let connect = sources(&get(&server, "/").await, "connect-src");
        assert!(connect.contains(&source.to_owned()), "{url}: {connect:?}");
    }
}

#[tokio::test]
async fn the_host_of_a_request_adds_nothing_to_the_policy_but_itself() {
    let server = Server::start();
    let expected: Vec<_> = policy(&get(&server, "/").await).into_iter().map(|it| it.0).collect();
    for host in ["x;script-src-elem", "x;report-uri", "a;sandbox;b", "*", "x,y", "'self'"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let response = exchange(server.address(), request.as_bytes()).await;
        let response = Response::parse(&response);
        let directives: Vec<_> = policy(&response).into_iter().map(|it| it.0).collect();
        assert_eq!(directives, expected, "{host}");
        let connect = sources(&response, "connect-src");
        assert!(
            !connect.iter().any(|source| source.starts_with("ws") && source.ends_with(host)),
            "{connect:?}"
        );
    }
}

#[tokio::test]
async fn what_the_console_loads_is_there() {
    let server = Server::start();
    let page = get(&server, "/").await.text();
    let mut loaded = 0;
    for attribute in ["src=\"", "href=\""] {
        for (start, _) in page.match_indices(attribute) {
            let link = &page[start + attribute.len()..];
            let link = &link[..link.find('"').expect("an attribute ends")];
            if link.contains(':') || link.starts_with('#') {
                continue;
            }
            let path = format!("/{}", link.trim_start_matches("./").trim_start_matches('/'));
            let response = get(&server, &path).await;
            assert_eq!(response.status, 200, "{path}");
            assert!(response.header("content-type").is_some(), "{path}");
            loaded += 1;
        }
    }
    assert!(loaded > 0, "a console without a script");
}

#[tokio::test]
async fn the_browser_client_is_readable_from_any_origin() {
    let server = Server::start();
    let module =
        request(&server, "GET", "/client/rollcall.js", "Origin: https://a.example\r\n").await;
    assert_eq!(module.status, 200);
    assert_eq!(module.header("access-control-allow-origin"), Some("*"));
    let kind = module.header("content-type").expect("a type");
    assert!(
        kind.starts_with("text/javascript") || kind.starts_with("application/javascript"),
        "{kind}"
    );
    assert!(module.text().contains("export"), "not a module");
}

#[tokio::test]
async fn health_and_readiness_are_good_on_a_working_server() {
    let server = Server::start();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&server, path).await.status, 200, "{path}");
    }
    let with_query = get(&server, "/healthz?verbose").await;
    assert_eq!(with_query.status, 200);
}

#[tokio::test]
async fn metrics_are_prometheus_text_and_move() {
    let server = Server::start();
    let mut client = Client::new(&server).await;
    client.call("Subscribe", json!({ "all": true })).await;
    client.register("ann", 1).await;
    client.expect_push("UserConnected").await;
    client.refused("DisconnectUser", json!({ "username": "bob" }), "not_found").await;
    let response = get(&server, "/metrics").await;
    assert_eq!(response.status, 200);
    let kind = response.header("content-type").expect("a type");
    assert!(kind.starts_with("text/plain") || kind.starts_with("application/openmetrics-text"));
    let text = response.text();
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for sample in &samples {
        if sample.is_empty() {
            continue;
        }
        let (name, value) = sample.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok(), "{sample}");
        let bare = name.split('{').next().expect("a name");
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
        assert!(!bare.is_empty() && bare.bytes().all(allowed), "{sample}");
        assert!(name == bare || name.ends_with('}'), "{sample}");
    }
    let own: Vec<_> = samples.iter().filter(|line| line.starts_with("rollcall_")).collect();
    for word in ["connection", "request", "push", "revision"] {
        assert!(own.iter().any(|line| line.contains(word)), "nothing about {word} in\n{text}");
    }
    assert!(own.iter().any(|line| line.contains("_bucket{")), "no histogram in\n{text}");
    assert!(!text.contains("ann"), "a name of a user in the metrics");
}

#[tokio::test]
async fn head_has_the_headers_of_get_without_its_body() {
    let server = Server::start();
    for path in ["/", "/healthz", "/metrics"] {
        let head = request(&server, "HEAD", path, "").await;
        assert_eq!(head.status, 200, "{path}");
        assert!(head.body.is_empty(), "{path}");
        let get = get(&server, path).await;
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let server = Server::start();
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let response = request(&server, method, "/healthz", "Content-Length: 0\r\n").await;
        assert_eq!(response.status, 405, "{method}");
        assert!(response.header("allow").is_some_and(|allow| allow.contains("GET")), "{method}");
    }
    let paths = [
        "/nothing",
        "/client",
        "/client/",
        "/client/../Cargo.toml",
        "/client/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/ws/",
        "/%00",
    ];
    for path in paths {
        let status = get(&server, path).await.status;
        assert!(status == 404 || status == 400, "{path}: {status}");
    }
}

#[tokio::test]
async fn broken_http_is_answered_with_400_or_not_at_all() {
    let server = Server::start();
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(2_000_000));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(100_000));
    let requests: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for request in requests {
        let response = exchange(server.address(), request).await;
        let refused = response.is_empty() || response.starts_with(b"HTTP/1.1 4");
        assert!(refused, "{:?}", String::from_utf8_lossy(&response[..response.len().min(80)]));
    }
    assert_eq!(get(&server, "/healthz").await.status, 200);
}
