//! Objects held against the browser client's TypeScript types: exactly the properties that an
//! interface declares, each of its type.
//!
//! Reads as much TypeScript as those interfaces need: a property or a comment on a line, objects in braces.

use std::collections::BTreeMap;

use serde_json::Value;

/// Fails unless `value` is what `interface` declares, no more and no less.
#[track_caller]
pub(crate) fn check(types: &str, interface: &str, value: &Value) {
    let start = format!("export interface {interface} {{");
    let rest = types.split_once(&start).unwrap_or_else(|| panic!("no {interface} in\n{types}")).1;
    let is_comment = |line: &&str| line.trim_start().starts_with("/**");
    let body: Vec<_> =
        rest[..end_of_braces(rest)].lines().filter(|line| !is_comment(line)).collect();
    check_object(interface, &body.join("\n"), value);
}

#[track_caller]
fn check_object(place: &str, body: &str, value: &Value) {
    let declared = properties(body);
    let object = value.as_object().unwrap_or_else(|| panic!("{place} is {value}"));
    for name in object.keys() {
        assert!(declared.contains_key(name.as_str()), "{place}.{name} is not declared: {value}");
    }
    for (name, (kind, optional)) in declared {
        match object.get(name) {
            Some(found) => check_kind(&format!("{place}.{name}"), kind, found),
            None => assert!(optional, "{place}.{name} is missing: {value}"),
        }
    }
}

#[track_caller]
fn check_kind(place: &str, kind: &str, value: &Value) {
    if let Some(rest) = kind.strip_prefix('{') {
        let end = end_of_braces(rest);
        let list = rest[end + 1..].starts_with("[]");
        let one = std::slice::from_ref(value);
        let objects = if list { value.as_array().map(Vec::as_slice) } else { Some(one) };
        let objects = objects.filter(|objects| !objects.is_empty());
        for object in objects.unwrap_or_else(|| panic!("{place} is {value}")) {
            check_object(place, &rest[..end], object);
        }
        return;
    }
    let fits = kind.split('|').map(str::trim).any(|kind| match kind {
        "number" => value.is_number(),
        "string" | "ServerUrl" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        text => value.as_str().is_some_and(|value| text == format!("\"{value}\"")),
    });
    assert!(fits, "{place} is {value}, not {kind}");
}

/// Names with their types, and whether they may be left out.
fn properties(body: &str) -> BTreeMap<&str, (&str, bool)> {
    let mut found = BTreeMap::new();
    let mut rest = body.trim_start();
    while let Some((name, after)) = rest.split_once(':') {
        let after = after.trim_start();
        let end = match after.strip_prefix('{') {
            Some(inner) => 1 + end_of_braces(inner) + 1,
            None => 0,
        };
        let end = end + after[end..].find(';').unwrap_or(after.len() - end);
        let (name, optional) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
        found.insert(name.trim(), (after[..end].trim(), optional));
        rest = after[end..].trim_start_matches(';').trim_start();
    }
    found
}

/// Where the braces end that `text` begins within.
fn end_of_braces(text: &str) -> usize {
    let mut depth = 1;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    panic!("braces do not end in {text}");
}

#[test]
fn what_differs_from_the_types_is_found() {
    let types = "export interface A {\n  /** One: or two; */\n  n: number;\n  s?: \"x\" | null;\n  o: { a: string; b: { c: boolean } }[];\n}\n";
    let good = serde_json::json!({ "n": 1, "o": [{ "a": "", "b": { "c": true } }] });
    check(types, "A", &good);
    let bad =
        [("n", serde_json::json!("1")), ("s", "y".into()), ("o", 1.into()), ("more", 1.into())];
    for (name, value) in bad {
        let mut other = good.clone();
        other[name] = value;
        assert!(std::panic::catch_unwind(|| check(types, "A", &other)).is_err(), "{other}");
    }
}
