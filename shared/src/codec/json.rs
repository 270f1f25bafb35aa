//! A small reader and writer of JSON, for clients: takes objects and arrays apart without copying.
//!
//! The browser client is weighed in kilobytes, and the general reader with its error texts and
//! floating-point numbers would be half of it. This one reads what servers send (names, whole
//! numbers, nested objects) and answers anything else with `None`. It does not judge whether a
//! value that nobody looks into is valid JSON.

use std::borrow::Cow;
use std::net::IpAddr;

/// Takes an object apart: calls `take` with each key and the text of its value.
///
/// `None` if the text is not an object, or `take` said so.
pub fn members<'a>(text: &'a str, take: &mut dyn FnMut(&str, &'a str) -> Option<()>) -> Option<()> {
    let mut reader = Reader { text, at: 0 };
    reader.expect(b'{')?;
    if !reader.accept(b'}') {
        loop {
            reader.skip_space();
            let key = string(reader.raw_string()?)?;
            reader.expect(b':')?;
            take(&key, reader.raw_value()?)?;
            if !reader.accept(b',') {
                break;
            }
        }
        reader.expect(b'}')?;
    }
    reader.end()
}

/// Takes an array apart: calls `take` with the text of each item.
///
/// `None` if the text is not an array, or `take` said so.
pub fn items<'a>(text: &'a str, take: &mut dyn FnMut(&'a str) -> Option<()>) -> Option<()> {
    let mut reader = Reader { text, at: 0 };
    reader.expect(b'[')?;
    if !reader.accept(b']') {
        loop {
            take(reader.raw_value()?)?;
            if !reader.accept(b',') {
                break;
            }
        }
        reader.expect(b']')?;
    }
    reader.end()
}

/// What can be read from the text of a JSON value.
pub trait Read<'a>: Sized {
    /// The value, if the text is one of this type.
    fn read(text: &'a str) -> Option<Self>;
}

impl<'a> Read<'a> for Cow<'a, str> {
    fn read(text: &'a str) -> Option<Self> {
        string(text)
    }
}

impl Read<'_> for String {
    fn read(text: &str) -> Option<Self> {
        string(text).map(Cow::into_owned)
    }
}

impl Read<'_> for bool {
    fn read(text: &str) -> Option<Self> {
        match text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }
}

impl Read<'_> for u64 {
    fn read(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse().ok() } else { None }
    }
}

impl Read<'_> for u16 {
    fn read(text: &str) -> Option<Self> {
        u64::read(text)?.try_into().ok()
    }
}

impl Read<'_> for IpAddr {
    fn read(text: &str) -> Option<Self> {
        super::ip::parse(&string(text)?)
    }
}

impl<'a, T: Read<'a>> Read<'a> for Option<T> {
    fn read(text: &'a str) -> Option<Self> {
        if text == "null" { Some(None) } else { T::read(text).map(Some) }
    }
}

impl<'a, T: Read<'a>> Read<'a> for Vec<T> {
    fn read(text: &'a str) -> Option<Self> {
        let mut list = Self::new();
        items(text, &mut |item| {
            list.push(T::read(item)?);
            Some(())
        })?;
        Some(list)
    }
}

/// What can be written as JSON.
pub trait Write {
    /// Appends the text.
    fn write(&self, out: &mut String);
}

/// The members of an object that is being written.
#[derive(Debug)]
pub struct Members<'a> {
    out: &'a mut String,
    separator: char,
}

/// Writes an object.
pub fn object(out: &mut String, put: impl FnOnce(&mut Members<'_>)) {
    let mut members = Members { out, separator: '{' };
    put(&mut members);
    if members.separator == '{' {
        out.push('{');
    }
    out.push('}');
}

impl Members<'_> {
    /// Adds a member; its name needs no escape.
    pub fn put<T: Write + ?Sized>(&mut self, name: &str, value: &T) {
        self.out.push(std::mem::replace(&mut self.separator, ','));
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
        value.write(self.out);
    }

    /// Adds a member, if there is a value.
    pub fn put_some<T: Write + ?Sized>(&mut self, name: &str, value: Option<&T>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }
}

impl Write for str {
    fn write(&self, out: &mut String) {
        out.push('"');
        for c in self.chars() {
            match c {
                '"' | '\\' => {
                    out.push('\\');
                    out.push(c);
                }
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\0'..='\x1f' => {
                    out.push_str("\\u00");
                    for digit in [u32::from(c) >> 4, u32::from(c) & 15] {
                        out.push(char::from_digit(digit, 16).unwrap_or('0'));
                    }
                }
                _ => out.push(c),
            }
        }
        out.push('"');
    }
}

impl Write for u64 {
    fn write(&self, out: &mut String) {
        if *self >= 10 {
            (self / 10).write(out);
        }
        out.push(char::from(b'0' + (self % 10) as u8));
    }
}

impl Write for u32 {
    fn write(&self, out: &mut String) {
        u64::from(*self).write(out);
    }
}

impl Write for bool {
    fn write(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl<T: Write> Write for [T] {
    fn write(&self, out: &mut String) {
        let mut separator = '[';
        for item in self {
            out.push(std::mem::replace(&mut separator, ','));
            item.write(out);
        }
        if self.is_empty() {
            out.push('[');
        }
        out.push(']');
    }
}

/// The content of a string, given with its quotes.
fn string(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut content = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        content.push_str(rest.get(..at)?);
        rest = rest.get(at + 1..)?;
        let escaped = *rest.as_bytes().first()?;
        rest = rest.get(1..)?;
        content.push(match escaped {
            b'"' | b'\\' | b'/' => char::from(escaped),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => escaped_char(&mut rest)?,
            _ => return None,
        });
    }
    content.push_str(rest);
    Some(Cow::Owned(content))
}

/// What comes after `\u`, both halves of a surrogate pair included.
fn escaped_char(rest: &mut &str) -> Option<char> {
    let first = hex(rest)?;
    let code = if (0xd800..0xdc00).contains(&first) {
        *rest = rest.strip_prefix("\\u")?;
        let second = hex(rest)?;
        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        0x1_0000 + ((first - 0xd800) << 10) + low
    } else {
        first
    };
    char::from_u32(code)
}

fn hex(rest: &mut &str) -> Option<u32> {
    let digits = rest.get(..4)?;
    *rest = rest.get(4..)?;
    digits.chars().try_fold(0, |code, digit| Some(code * 16 + digit.to_digit(16)?))
}

/// A place in a text.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.accept(byte).then_some(())
    }

    fn end(&mut self) -> Option<()> {
        self.skip_space();
        (self.at == self.text.len()).then_some(())
    }

    /// A string with its quotes.
    fn raw_string(&mut self) -> Option<&'a str> {
        let start = self.at;
        if self.peek()? != b'"' {
            return None;
        }
        loop {
            self.at += 1;
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 1,
                _ => {}
            }
        }
        self.at += 1;
        self.text.get(start..self.at)
    }

    /// Any value. Nesting is counted, not followed: depth costs no stack.
    fn raw_value(&mut self) -> Option<&'a str> {
        self.skip_space();
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.raw_string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => self.skip_scalar()?,
            }
            if depth == 0 {
                return self.text.get(start..self.at);
            }
        }
    }

    /// A number or a literal.
    fn skip_scalar(&mut self) -> Option<()> {
        let start = self.at;
        let part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        while self.peek().is_some_and(part) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Reads a whole value by this reader, into what the general one reads.
    fn value(text: &str) -> Option<Value> {
        match text.as_bytes().first()? {
            b'{' => {
                let mut map = serde_json::Map::new();
                members(text, &mut |key, text| {
                    map.insert(key.to_owned(), value(text)?);
                    Some(())
                })?;
                Some(Value::Object(map))
            }
            b'[' => {
                let mut list = Vec::new();
                items(text, &mut |text| {
                    list.push(value(text)?);
                    Some(())
                })?;
                Some(Value::Array(list))
            }
            b'"' => String::read(text).map(Value::String),
            b't' | b'f' => bool::read(text).map(Value::Bool),
            b'n' => Option::<u64>::read(text).map(|_| Value::Null),
            _ => u64::read(text).map(Value::from),
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_what_the_general_reader_reads(expected in any_value()) {
            for text in [expected.to_string(), serde_json::to_string_pretty(&expected).unwrap()] {
                prop_assert_eq!(value(&text), Some(expected.clone()));
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in r#"[{}\[\]",:\\ue0-9d tru-]{0,40}"#) {
            let _ = value(&text);
        }

        #[test]
        fn what_it_reads_whole_is_valid(text in r#"[{}\[\]",:\\ 1n]{0,12}"#) {
            let text = format!("[{text}]");
            if let Some(read) = value(&text) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(read), "{}", text);
            }
        }
    }

    #[test]
    fn strings_are_unescaped() {
        let read = |text| String::read(text);
        assert_eq!(read(r#""a\/\"\\\n\u00e9\ud83d\ude00""#).as_deref(), Some("a/\"\\\né😀"));
        for bad in [r#""\ud83d""#, r#""\ud83d\u0041""#, r#""\x""#, r#""\u12""#, r#""\"#, "\"", "x"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        let text = format!(r#"{{"a":{deep},"b":1}}"#);
        let mut keys = Vec::new();
        members(&text, &mut |key, _| {
            keys.push(key.to_owned());
            Some(())
        })
        .unwrap();
        assert_eq!(keys, ["a", "b"]);
    }
}
