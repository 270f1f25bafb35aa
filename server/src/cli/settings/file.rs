//! The configuration file: TOML, every key known, every value of the right kind.
//!
//! The whole file is checked, also the tables of other commands: one file serves all of them. A
//! fault names the file, the line, the key, and what would be right. Which value wins over which is
//! decided by [`super`].

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{Kind, Setting, nearest};
use crate::cli::failure::Failure;

/// What the file says about one setting, as the flag would take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) table: String,
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

/// Reads and checks a configuration file.
pub(super) fn read(path: &Path, settings: &[Setting]) -> Result<Vec<Entry>, Failure> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::Usage(format!("the configuration file {name} cannot be read: {error}"))
    })?;
    parse(&name, &text, settings)
}

/// Checks the text of a configuration file called `name`.
pub(super) fn parse(name: &str, text: &str, settings: &[Setting]) -> Result<Vec<Entry>, Failure> {
    let reader = Reader { name, text, settings };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().unwrap_or(0..0);
        reader.fault(&at, format!("this is not TOML: {}", error.message()))
    })?;
    let mut entries = Vec::new();
    for (key, value) in table.get_ref() {
        match value.get_ref() {
            DeValue::Table(inner) if reader.has_table(key.get_ref()) => {
                for (inner_key, inner_value) in inner {
                    let at = inner_key.span();
                    let value = inner_value.get_ref();
                    entries.push(reader.entry(key.get_ref(), inner_key.get_ref(), &at, value)?);
                }
            }
            value => entries.push(reader.entry("", key.get_ref(), &key.span(), value)?),
        }
    }
    Ok(entries)
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    settings: &'a [Setting],
}

impl Reader<'_> {
    fn has_table(&self, name: &str) -> bool {
        !name.is_empty() && self.settings.iter().any(|setting| setting.table == name)
    }

    fn entry(
        &self,
        table: &str,
        key: &str,
        at: &Range<usize>,
        value: &DeValue<'_>,
    ) -> Result<Entry, Failure> {
        let found = |setting: &&Setting| setting.table == table && setting.key() == key;
        let Some(setting) = self.settings.iter().find(found) else {
            return Err(self.unknown(table, key, at));
        };
        let wrong = |reason: &str| {
            let full = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
            self.fault(at, format!("{full} {reason}; right would be: {}", example(setting)))
        };
        let values = texts(setting.kind(), value).map_err(&wrong)?;
        for value in &values {
            setting.check(value).map_err(|reason| match setting.key() {
                "token" => wrong(&reason),
                _ => wrong(&format!("is {value:?} but {reason}")),
            })?;
        }
        Ok(Entry { table: table.to_owned(), key: key.to_owned(), values })
    }

    fn unknown(&self, table: &str, key: &str, at: &Range<usize>) -> Failure {
        let place = |table: &str| match table {
            "" => "at the top level, above the first [table]".to_owned(),
            table => format!("in [{table}]"),
        };
        let elsewhere = self.settings.iter().find(|setting| setting.key() == key);
        let known = self.settings.iter().filter(|setting| setting.table == table);
        let mut known: Vec<&str> = known.map(Setting::key).collect();
        if table.is_empty() {
            known.extend(self.settings.iter().map(|setting| setting.table.as_str()));
        }
        known.retain(|name| !name.is_empty());
        known.sort_unstable();
        known.dedup();
        let advice = match (elsewhere, nearest(key, known.iter().copied())) {
            (Some(setting), _) => format!("it belongs {}", place(&setting.table)),
            (None, Some(near)) => format!("did you mean {near:?}?"),
            (None, None) => format!("known are {}", known.join(", ")),
        };
        let within = if table.is_empty() { String::new() } else { format!(" in [{table}]") };
        self.fault(at, format!("unknown key {key:?}{within}; {advice}"))
    }

    fn fault(&self, at: &Range<usize>, what: impl AsRef<str>) -> Failure {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        Failure::Usage(format!("{}:{line}: {}", self.name, what.as_ref()))
    }
}

/// The value as texts that the flag takes.
fn texts(kind: Kind, value: &DeValue<'_>) -> Result<Vec<String>, &'static str> {
    let text = |value: &DeValue<'_>| value.as_str().map(ToOwned::to_owned);
    match (kind, value) {
        (Kind::Boolean, DeValue::Boolean(value)) => Ok(vec![value.to_string()]),
        (Kind::Boolean, _) => Err("must be true or false"),
        (Kind::Whole, DeValue::Integer(number)) => Ok(vec![decimal(number)]),
        (Kind::Milliseconds, DeValue::Integer(number)) => {
            Ok(vec![format!("{}ms", decimal(number))])
        }
        (Kind::Whole | Kind::Milliseconds, _) => Err("must be a whole number"),
        (Kind::Text, value) => text(value).map(|one| vec![one]).ok_or("must be a string"),
        (Kind::Texts | Kind::Members, DeValue::String(one)) => Ok(vec![one.to_string()]),
        (Kind::Texts | Kind::Members, DeValue::Array(array)) => array
            .iter()
            .map(|value| text(value.get_ref()).ok_or("must be an array of strings"))
            .collect(),
        (Kind::Members, DeValue::Table(members)) => members
            .iter()
            .map(|(id, url)| {
                let url = text(url.get_ref()).ok_or("must be a table from id to URL")?;
                Ok(format!("{}={url}", id.get_ref()))
            })
            .collect(),
        (Kind::Members, _) => Err("must be a table from id to URL, or an array of strings"),
        (Kind::Texts, _) => Err("must be an array of strings"),
    }
}

/// TOML also has hexadecimal, octal and binary numbers; flags do not.
fn decimal(number: &toml::de::DeInteger<'_>) -> String {
    i64::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.to_string(), |value| value.to_string())
}

/// A line that would be right.
fn example(setting: &Setting) -> String {
    let default = setting.arg.get_default_values().first().and_then(|value| value.to_str());
    let key = setting.key();
    match (setting.kind(), default) {
        (Kind::Boolean, _) => format!("{key} = true"),
        (Kind::Whole, default) => format!("{key} = {}", default.unwrap_or("1")),
        (Kind::Milliseconds, _) => format!("{key} = 5000"),
        (Kind::Members, _) => format!(r#"{key} = {{ 2 = "ws://127.0.0.1:7102/peer" }}"#),
        (kind, default) => {
            let text = default.unwrap_or_else(|| sample(key));
            let quoted =
                if text.contains('"') { format!("'{text}'") } else { format!("\"{text}\"") };
            match kind {
                Kind::Texts => format!("{key} = [{quoted}]"),
                _ => format!("{key} = {quoted}"),
            }
        }
    }
}

/// A text for a setting without a default.
fn sample(key: &str) -> &'static str {
    match key {
        "advertise" => "ws://rollcall.example:7101/ws",
        "allow_origins" => "https://app.example",
        "data_dir" => "rollcall-data",
        "log" => "info",
        "meta" => r#"{"room":"blue"}"#,
        "prefix" => "team-",
        "tokens" => "tokens.toml",
        _ => "…",
    }
}
