//! Makes what wasm-bindgen wrote smaller: short names between the module and its JavaScript side,
//! and no comments and indentation in the latter.
//!
//! It changes no code: names are exchanged as whole words on both sides, lines stay lines.
//! docs/decisions/0018-size-of-the-browser-client.md has what it is worth.

use std::collections::{BTreeMap, BTreeSet};

use crate::process::Result;

/// Short names for long ones.
#[derive(Debug, Default)]
pub(crate) struct Names {
    short: BTreeMap<String, String>,
    taken: BTreeSet<String>,
}

impl Names {
    /// None yet; no word of `javascript` will be given.
    pub(crate) fn avoiding(javascript: &str) -> Self {
        let taken = words(javascript).filter(|(is_word, _)| *is_word);
        Self { short: BTreeMap::new(), taken: taken.map(|(_, word)| word.to_owned()).collect() }
    }

    /// The short name for a long one, the same every time. Fails for one that the JavaScript does
    /// not mention.
    pub(crate) fn shorten(&mut self, long: &str) -> Result<String> {
        if let Some(short) = self.short.get(long) {
            return Ok(short.clone());
        }
        if !self.taken.contains(long) {
            return Err(format!("the bindings do not mention {long}").into());
        }
        let free = (self.short.len()..).map(name).find(|name| !self.taken.contains(name));
        let short = free.ok_or("no short name is free")?;
        self.taken.insert(short.clone());
        self.short.insert(long.to_owned(), short.clone());
        Ok(short)
    }

    /// The JavaScript with short names for long ones.
    pub(crate) fn apply(&self, javascript: &str) -> String {
        let short = |word| self.short.get(word).map_or(word, String::as_str);
        words(javascript).map(|(_, piece)| short(piece)).collect()
    }
}

/// `a0`, `b0`, … `z0`, `a1` and so on.
fn name(index: usize) -> String {
    let letter = b'a' + u8::try_from(index % 26).unwrap_or_default();
    format!("{}{}", char::from(letter), index / 26)
}

/// The text in pieces: words of JavaScript, and what is between them.
fn words(text: &str) -> impl Iterator<Item = (bool, &str)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_word = is_part(rest.chars().next()?);
        let end = rest.find(|c| is_part(c) != is_word).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some((is_word, piece))
    })
}

/// Takes lines of comment, indentation and empty lines out. Fails for a text in which that could
/// change more: one whose template strings or comments go over the ends of lines of code.
pub(crate) fn strip(javascript: &str) -> Result<String> {
    let mut stripped = String::with_capacity(javascript.len());
    let mut in_comment = false;
    for line in javascript.lines().map(str::trim) {
        if in_comment || line.starts_with("/*") {
            in_comment = !line.ends_with("*/");
            if in_comment && line.contains("*/") {
                return Err(format!("code follows a comment: {line}").into());
            }
            continue;
        }
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        if line.matches('`').count() % 2 == 1 || line.contains("/*") {
            return Err(format!("not ended on its line: {line}").into());
        }
        stripped.push_str(line);
        stripped.push('\n');
    }
    if in_comment {
        return Err("a comment does not end".into());
    }
    Ok(stripped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exchanged_as_whole_words() {
        let text = "a0: function() { wasm.long_name(); my_long_name; \"./long_name.js\" }";
        let mut names = Names::avoiding(text);
        let short = names.shorten("long_name").expect("it is mentioned");
        assert_eq!(short, "b0", "a0 is in use");
        assert_eq!(names.shorten("long_name").expect("it is known"), short);
        assert!(names.shorten("other").is_err());
        let applied = names.apply(text);
        assert_eq!(applied, "a0: function() { wasm.b0(); my_long_name; \"./b0.js\" }");
    }

    #[test]
    fn short_names_differ() {
        let text: String = (0..100).map(|n| format!("import_{n} ")).collect();
        let mut names = Names::avoiding(&text);
        let all: BTreeSet<_> = (0..100)
            .map(|n| names.shorten(&format!("import_{n}")).expect("it is mentioned"))
            .collect();
        assert_eq!(all.len(), 100);
        assert!(all.iter().all(|name| name.len() == 2), "{all:?}");
    }

    #[test]
    fn comments_and_indentation_go() {
        let text = "/* one */\n/**\n * two\n */\nclass A {\n\n    // three\n    b() { `x`; }\n}\n";
        assert_eq!(strip(text).expect("it is plain"), "class A {\nb() { `x`; }\n}\n");
        assert!(strip("const a = `one\n  two`;\n").is_err());
        assert!(strip("a(); /* one\n two */ b();\n").is_err());
        assert!(strip("/* one\n two */ b();\n").is_err());
        assert!(strip("/* one").is_err());
    }
}
