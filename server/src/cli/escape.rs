//! Text from strangers, made safe to show: names and messages could carry terminal commands, or
//! letters that turn the reading direction of the rest of the line.
//!
//! For people only: JSON output needs no such care and stays as it is.

use std::fmt::{self, Write as _};

/// Displays a text with what could deceive the reader written as `\u{…}`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Escaped<'a> {
    text: &'a str,
    keep_lines: bool,
}

impl<'a> Escaped<'a> {
    /// For a text that belongs on one line.
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text, keep_lines: false }
    }

    /// For a text of our own that may have several lines, and pieces of others' in it.
    pub(crate) const fn lines(text: &'a str) -> Self {
        Self { text, keep_lines: true }
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.text.chars() {
            match c {
                '\n' if self.keep_lines => f.write_char(c)?,
                '\n' | '\r' | '\t' => write!(f, "{}", c.escape_default())?,
                _ if deceives(c) => write!(f, "{}", c.escape_unicode())?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Control characters, line and paragraph separators, what changes the direction of writing, and
/// what is not seen at all. Joiners stay: scripts and emoji need them.
pub(crate) fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_written_out() {
        let shown = |text| Escaped::new(text).to_string();
        assert_eq!(shown("\x1b[2Jhi\r\n"), r"\u{1b}[2Jhi\r\n");
        assert_eq!(shown("a\u{202e}b\u{2066}c"), r"a\u{202e}b\u{2066}c");
        assert_eq!(shown("\u{9b}31m"), r"\u{9b}31m");
        assert_eq!(shown("名前 é 👩\u{200d}🚀"), "名前 é 👩\u{200d}🚀");
    }

    #[test]
    fn our_own_line_ends_stay() {
        assert_eq!(Escaped::lines("a\nb\r").to_string(), "a\nb\\r");
    }
}
