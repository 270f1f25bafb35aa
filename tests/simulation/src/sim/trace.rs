//! A number for a run: it depends on all that servers said and clients were answered, so that equal
//! runs, and hardly any others, have equal ones.

use std::fmt;
use std::hash::{Hash, Hasher};

use rollcall_replica::Output;
use rollcall_replica::consensus::journal::{Base, Record};

/// The number so far.
#[derive(Clone, Debug)]
pub(super) struct Trace(u64);

impl Trace {
    pub(super) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn said(&mut self, now: u64, node: u32, output: &Output) {
        (now, node).hash(self);
        match output {
            Output::Send { peer, link, frame } => (peer, link, frame).hash(self),
            Output::Store(record) => self.stored(record),
            other => self.debug(other),
        }
    }

    fn stored(&mut self, record: &Record) {
        match record {
            Record::Append { first, entries } => (first, entries).hash(self),
            Record::Compact { snapshot, keep } => (snapshot.index, keep).hash(self),
            Record::Adopt(adopt) => {
                let base = match &adopt.base {
                    Base::Keep(last) => *last,
                    Base::Snapshot(snapshot) => snapshot.index,
                };
                (adopt.epoch, base, &adopt.entries).hash(self);
            }
            other => self.debug(other),
        }
    }

    /// Takes in what a person would read of `what`.
    pub(super) fn debug(&mut self, what: &dyn fmt::Debug) {
        let written = fmt::Write::write_fmt(self, format_args!("{what:?}"));
        written.expect("a number takes in any text");
    }
}

/// Word by word, since it is fed at every step: FNV-1a on words, turned so that the upper bits count.
impl Hasher for Trace {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

impl fmt::Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}
