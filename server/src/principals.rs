//! Who a client is: from nothing, or from a table of tokens.
//!
//! Owns the table and its file; that a principal owns registrations is the directory's.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use rollcall_shared::id::Subject;
use serde::Deserialize;

/// Tells principals from tokens.
#[derive(Debug)]
pub(crate) enum Resolver {
    /// No token is asked for: each client is its own principal.
    None,
    /// A token must be in this table.
    Table(HashMap<String, Subject>),
}

/// The file of the table: `[tokens]`, then `"the-token" = "subject"` or
/// `"the-token" = { sub = "subject" }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: HashMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Short(String),
    Long(Claims),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    sub: String,
}

/// Why a file of tokens cannot be used.
#[derive(Debug)]
pub struct TokensError {
    file: PathBuf,
    fault: String,
}

impl fmt::Display for TokensError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "tokens file {}: {} (it holds a table [tokens] of \"token\" = {{ sub = \"subject\" }})",
            self.file.display(),
            self.fault.trim_end()
        )
    }
}

impl std::error::Error for TokensError {}

impl Resolver {
    /// The resolver for a configuration: a table where there is a file.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, TokensError> {
        let Some(path) = file else { return Ok(Self::None) };
        let fault = |fault: String| TokensError { file: path.to_owned(), fault };
        let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
        Self::parse(&text).map_err(fault)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| describe(&error, text))?;
        let mut table = HashMap::with_capacity(file.tokens.len());
        for (token, entry) in file.tokens {
            let (Entry::Short(sub) | Entry::Long(Claims { sub })) = entry;
            let subject = Subject::new(&sub).map_err(|why| format!("the subject {sub:?} {why}"))?;
            if token.is_empty() {
                return Err(format!("the token of {sub:?} is empty"));
            }
            table.insert(token, subject);
        }
        if table.is_empty() {
            return Err("it holds no token, so nobody could connect".into());
        }
        Ok(Self::Table(table))
    }

    /// Whether a client must show a token.
    pub(crate) const fn wants_token(&self) -> bool {
        matches!(self, Self::Table(_))
    }

    /// Whom a token stands for.
    pub(crate) fn subject(&self, token: &str) -> Option<&Subject> {
        match self {
            Self::None => None,
            Self::Table(table) => table.get(token),
        }
    }
}

/// Where the file is wrong. The parser's own words quote it, and a log is no place for a token.
fn describe(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {} does not fit", before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_entry_name_the_subject() {
        let text = "[tokens]\nshort = \"ann\"\nlong = { sub = \"bob\" }\n";
        let resolver = Resolver::parse(text).unwrap();
        assert_eq!(resolver.subject("short").unwrap().as_str(), "ann");
        assert_eq!(resolver.subject("long").unwrap().as_str(), "bob");
        assert_eq!(resolver.subject("other"), None);
    }

    #[test]
    fn a_file_that_lets_nobody_in_is_refused() {
        for text in ["", "[tokens]\n", "[tokens]\na = 5\n", "[tokens]\na = \"x y\"\n", "[x]\n"] {
            assert!(Resolver::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_fault_names_its_line_and_quotes_no_token() {
        for text in ["\n\"hush\" = \"ann\"\n", "[tokens]\n\"hush\" = 5\n", "[tokens]\n\"hush\" =\n"]
        {
            let fault = Resolver::parse(text).unwrap_err();
            assert_eq!(fault, "line 2 does not fit", "{text:?}");
        }
    }
}
