//! Who is online as one comparable value, whoever told: the console, `rollcall lookup` or a test's
//! own model.

use std::collections::BTreeMap;

use rollcall_tests::{command, model::Address, server::Server};
use serde_json::Value;

/// Where each device of each user is reached.
pub(crate) type People = BTreeMap<(String, String), Address>;

/// Reads objects with `username`, `device` and an address each.
pub(crate) fn from_rows(rows: &Value) -> People {
    let rows = rows.as_array().unwrap_or_else(|| panic!("not a list: {rows}"));
    let mut people = People::new();
    for row in rows {
        insert(&mut people, &row["username"], row);
    }
    people
}

/// Reads `users` of `UserAddress`.
pub(crate) fn from_users(users: &Value) -> People {
    let mut people = People::new();
    for user in users.as_array().unwrap_or_else(|| panic!("not a list: {users}")) {
        for address in user["addresses"].as_array().expect("a user has addresses") {
            insert(&mut people, &user["username"], address);
        }
    }
    people
}

/// Asks `rollcall lookup` for these names: who is there, and which names are not.
pub(crate) async fn look_up(server: &Server, names: &[&str]) -> (People, Vec<String>) {
    let (url, fixed) = (server.url(), ["lookup", "--json", "--server"]);
    let arguments: Vec<&str> =
        fixed.into_iter().chain([url.as_str()]).chain(names.to_vec()).collect();
    let finished = command::run(&arguments).await;
    let answer: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("rollcall lookup: {error}: {finished:?}"));
    let unknown = answer["unknown"].as_array().expect("unknown is a list");
    let unknown: Vec<String> =
        unknown.iter().map(|name| name.as_str().expect("a name is text").to_owned()).collect();
    assert_eq!(finished.code, Some(i32::from(!unknown.is_empty())), "{finished:?}");
    (from_users(&answer["users"]), unknown)
}

/// In which entries two differ, a few of them; nothing where they are equal.
pub(crate) fn difference(expected: &People, found: &People) -> Option<String> {
    let keys: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let differing: Vec<String> = keys
        .into_iter()
        .filter(|key| expected.get(key) != found.get(key))
        .map(|key| format!("{key:?}: expected {:?}, found {:?}", expected.get(key), found.get(key)))
        .collect();
    if differing.is_empty() {
        return None;
    }
    let shown = differing.iter().take(SHOWN).map(|line| format!("\n  {line}")).collect::<String>();
    let (many, all, here) = (differing.len(), expected.len(), found.len());
    Some(format!("{many} entries differ ({all} expected, {here} found):{shown}"))
}

fn insert(people: &mut People, username: &Value, address: &Value) {
    let text = |value: &Value| value.as_str().expect("a name is text").to_owned();
    let key = (text(username), text(&address["device"]));
    let before = people.insert(key, Address::from_json(address));
    assert_eq!(before, None, "{username} is listed twice: {address}");
}

/// Differing entries that a message names.
const SHOWN: usize = 8;
