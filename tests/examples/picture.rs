//! Takes the README's picture: the console of three servers with about forty people and something
//! going on.
//!
//! After `cargo xtask web` and `cargo build`:
//! `ROLLCALL_BIN=$PWD/target/debug/rollcall cargo run -p rollcall-tests --example picture -- docs/images/console.png`
//! It proves nothing; the tests of the console are in `end_to_end`.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use rollcall_client::{Client, Ip, Registration};
use rollcall_tests::{browser::Browser, cluster::Cluster};
use serde_json::{Value, json};
use tokio::time::sleep;

#[tokio::main]
async fn main() {
    let path = std::env::args().nth(1).expect("the picture's path as argument");
    let cluster = Cluster::with(3, &["--session-grace-ms", "1500"]).await;
    let page = Browser::open("picture", &cluster.http(1)).await;
    page.wait_true("the console", "return document.body.dataset.view === 'live'").await;

    // The window's frame counts in its size.
    let frame = page.value("return outerHeight - innerHeight").await.as_u64().unwrap_or(0);
    page.resize(1440, 900 + u32::try_from(frame).expect("a frame is small")).await;

    let mut clients = Vec::new();
    for (index, (name, device)) in PEOPLE.into_iter().enumerate() {
        let url = cluster.url(index as u64 % 3 + 1);
        let client = Client::connect([url]).await.expect("the server runs");
        client.connect_user(name, place(index).device(device)).await.expect("the name is free");
        clients.push((name, device, client));
        // Real time, so that the curve of the last minute is one.
        sleep(Duration::from_millis(if index < 24 { 40 } else { 900 + 311 * (index as u64 % 5) }))
            .await;
    }
    for index in [3, 17, 29] {
        let (name, device, client) = &clients[index];
        client.disconnect_user(name, Some(device)).await.expect("it was registered");
        sleep(Duration::from_millis(1300)).await;
    }
    let (name, device, client) = &clients[8];
    client.connect_user(name, place(70).device(device)).await.expect("it is held");
    clients.remove(21); // without a goodbye: it times out
    sleep(Duration::from_millis(3500)).await;
    for index in [3, 28] {
        let (name, device, client) = &clients[index];
        client.connect_user(name, place(index).device(device)).await.expect("the name is free");
        sleep(Duration::from_millis(1400)).await;
    }
    page.picture(Path::new(&path)).await;
    page.close().await;
}

/// Somewhere in the networks for examples, with the details an application might keep.
fn place(index: usize) -> Registration {
    let last = u8::try_from(11 + index * 5 % 240).expect("it is below 251");
    let network = [[203, 0, 113], [198, 51, 100], [192, 0, 2]][index % 3];
    let ip = Ipv4Addr::new(network[0], network[1], network[2], last);
    let port = u16::try_from(40_000 + index * 137 % 20_000).expect("it is a port");
    Registration::new(Ip::Literal(ip.into()), port).meta(details(index))
}

fn details(index: usize) -> Value {
    match index % 4 {
        0 => json!({ "room": ROOMS[index / 4 % ROOMS.len()] }),
        1 => json!({ "room": ROOMS[index / 3 % ROOMS.len()], "status": "away" }),
        2 => json!({ "version": "4.2" }),
        _ => json!({ "room": ROOMS[index / 2 % ROOMS.len()], "level": index % 30 + 1 }),
    }
}

const ROOMS: [&str; 6] = ["lobby", "north-hall", "support", "chess", "design", "night-shift"];

const PEOPLE: [(&str, &str); 42] = [
    ("amara", "phone"),
    ("ben.okafor", "laptop"),
    ("chloe", "default"),
    ("daniel", "laptop"),
    ("élodie", "tablet"),
    ("farid", "phone"),
    ("grace", "laptop"),
    ("grace", "phone"),
    ("hiroshi", "laptop"),
    ("ines", "default"),
    ("jakub", "phone"),
    ("kateryna", "laptop"),
    ("leo", "default"),
    ("mei-ling", "tablet"),
    ("nadia", "phone"),
    ("oskar", "laptop"),
    ("priya", "laptop"),
    ("priya", "phone"),
    ("quentin", "default"),
    ("rosa", "phone"),
    ("samuel", "laptop"),
    ("tariq", "phone"),
    ("uma", "default"),
    ("viktor", "laptop"),
    ("wanjiru", "phone"),
    ("ximena", "tablet"),
    ("yusuf", "laptop"),
    ("zoë", "phone"),
    ("anders", "laptop"),
    ("bruna", "phone"),
    ("carlos", "default"),
    ("dilnoza", "phone"),
    ("emeka", "laptop"),
    ("freya", "tablet"),
    ("gustavo", "phone"),
    ("hana", "laptop"),
    ("ivan", "default"),
    ("josefine", "phone"),
    ("kenji", "laptop"),
    ("lucia", "phone"),
    ("marek", "laptop"),
    ("noor", "tablet"),
];
