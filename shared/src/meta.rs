//! `meta`: what an application keeps with a registration, a small JSON object.
//!
//! Owns its check and its compact form; the content is the application's business.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

use crate::limits;

/// A JSON object of at most 1024 bytes in compact form (without white space between tokens).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Meta(Arc<str>);

/// Why a JSON text cannot be `meta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidMeta {
    /// It is not a JSON object, or not one that every JSON parser reads.
    NotAnObject,
    /// Its compact form has more than [`limits::META_BYTES`] bytes.
    TooLarge,
    /// It is nested deeper than [`limits::META_DEPTH`].
    TooDeep,
}

impl fmt::Display for InvalidMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("is not a JSON object"),
            Self::TooLarge => {
                write!(f, "is larger than {} bytes in compact form", limits::META_BYTES)
            }
            Self::TooDeep => write!(f, "is nested deeper than {} levels", limits::META_DEPTH),
        }
    }
}

impl std::error::Error for InvalidMeta {}

impl Meta {
    /// Checks `json` and brings it into compact form.
    ///
    /// # Errors
    /// [`InvalidMeta`] says what is wrong with it.
    ///
    /// ```
    /// # use rollcall_shared::meta::Meta;
    /// assert_eq!(Meta::new(r#"{ "room": [1, 2] }"#).unwrap().as_str(), r#"{"room":[1,2]}"#);
    /// ```
    pub fn new(json: &str) -> Result<Self, InvalidMeta> {
        let (compact, depth) = compact(json);
        if compact.len() > limits::META_BYTES {
            return Err(InvalidMeta::TooLarge);
        }
        if depth > limits::META_DEPTH {
            return Err(InvalidMeta::TooDeep);
        }
        // The full parse refuses what the raw one lets pass and other parsers choke on: numbers
        // out of range and halves of surrogate pairs. It reads the original, because taking white
        // space away could join two tokens into a valid one.
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json)
            .map_err(|_| InvalidMeta::NotAnObject)?;
        serde_json::from_str::<&RawValue>(&compact).map_err(|_| InvalidMeta::NotAnObject)?;
        Ok(Self(Arc::from(compact)))
    }

    /// Takes the text of a JSON object that was checked elsewhere as it is: one that a server sent,
    /// or that a browser's `JSON.stringify` wrote.
    #[must_use]
    pub fn trusted(json: &str) -> Self {
        Self(Arc::from(json))
    }

    /// The compact JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text without white space between tokens, and its deepest nesting.
fn compact(json: &str) -> (String, usize) {
    let mut out = String::with_capacity(json.len());
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            (in_string, escaped) = (escaped || c != '"', !escaped && c == '\\');
        } else {
            match c {
                ' ' | '\t' | '\n' | '\r' => continue,
                '"' => in_string = true,
                '{' | '[' => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                '}' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        out.push(c);
    }
    (out, deepest)
}

impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// JSON within JSON; in a compact format, which servers speak among themselves, its text.
impl Serialize for Meta {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_str(&self.0);
        }
        // Text held as `RawValue` would need no second look, but making one needs the general
        // reader, which the browser client has no room for.
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Takes the JSON that a server sent as it is: the server has checked it. The text of a compact
/// format is checked, because what a server keeps must be valid whatever it was read from.
impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return Self::new(&text).map_err(de::Error::custom);
        }
        Box::<RawValue>::deserialize(deserializer).map(|raw| Self::trusted(raw.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_size(bytes: usize) -> String {
        format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - r#"{"a":""}"#.len()))
    }

    #[test]
    fn is_measured_in_compact_form() {
        assert!(Meta::new(&of_size(1024)).is_ok());
        assert_eq!(Meta::new(&of_size(1025)), Err(InvalidMeta::TooLarge));
        let spaced = of_size(1024).replace(':', &format!(":{}", " ".repeat(500)));
        assert_eq!(Meta::new(&spaced).unwrap().as_str().len(), 1024);
    }

    #[test]
    fn keeps_strings_as_they_are() {
        let text = r#"{ "a b" : "\" { \\" , "c":" \t" }"#;
        assert_eq!(Meta::new(text).unwrap().as_str(), r#"{"a b":"\" { \\","c":" \t"}"#);
    }

    #[test]
    fn refuses_what_others_could_not_read() {
        for bad in ["[]", "1", "null", "{", r#"{"a":1e999}"#, r#"{"a":"\ud800"}"#, "{} {}", ""] {
            assert_eq!(Meta::new(bad), Err(InvalidMeta::NotAnObject), "{bad}");
        }
        // A space that holds two tokens apart must not join them.
        assert_eq!(Meta::new(r#"{"a":1 2}"#), Err(InvalidMeta::NotAnObject));
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(32), "]".repeat(32));
        assert_eq!(Meta::new(&deep), Err(InvalidMeta::TooDeep));
    }
}
