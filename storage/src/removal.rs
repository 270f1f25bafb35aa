//! Removes files that are needed no more, a bit at a time: a disk that is told to forget many megabytes
//! at once lets the journal wait meanwhile.

use std::collections::VecDeque;
use std::io::ErrorKind;

use crate::fault::Failed;
use crate::folder::{File, Folder};

/// Files on their way out.
pub struct Removal<F: Folder> {
    folder: F,
    names: VecDeque<String>,
    /// The first of them, and how long it is by now.
    first: Option<(F::File, u64)>,
}

impl<F: Folder> Removal<F> {
    /// None yet.
    pub const fn new(folder: F) -> Self {
        Self { folder, names: VecDeque::new(), first: None }
    }

    /// Further ones.
    pub fn add(&mut self, names: Vec<String>) {
        self.names.extend(names);
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.names.is_empty()
    }

    /// Makes the first file shorter by a megabyte, or removes it. One that fails is left where it is, for
    /// the next start.
    ///
    /// # Errors
    /// The disk fails.
    pub fn step(&mut self) -> Result<(), Failed> {
        let done = self.shorten();
        if !matches!(done, Ok(false)) {
            self.first = None;
            self.names.pop_front();
        }
        done.map(drop)
    }

    /// Whether the first file is gone.
    fn shorten(&mut self) -> Result<bool, Failed> {
        let Some(name) = self.names.front() else { return Ok(true) };
        let (mut file, length) = match self.first.take() {
            Some(first) => first,
            None => {
                let file = match self.folder.open(name) {
                    Err(why) if why.kind() == ErrorKind::NotFound => return Ok(true),
                    opened => opened.map_err(Failed::new("open", name))?,
                };
                let length = file.len().map_err(Failed::new("read", name))?;
                (file, length)
            }
        };
        if length <= STEP {
            drop(file);
            self.folder.remove(name).map_err(Failed::new("remove", name))?;
            return Ok(true);
        }
        let rest = length - STEP;
        file.truncate(rest).map_err(Failed::new("cut", name))?;
        file.sync().map_err(Failed::new("sync", name))?;
        self.first = Some((file, rest));
        Ok(false)
    }
}

/// How much goes at once, bytes.
const STEP: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[test]
    fn files_go_a_bit_at_a_time() {
        let folder = Memory::default();
        let length = usize::try_from(STEP).unwrap();
        folder.put("long", vec![1; 2 * length + 5]);
        folder.put("short", vec![1; 5]);
        folder.put("other", vec![1; 5]);
        let mut removal = Removal::new(folder.clone());
        assert!(removal.is_done());
        removal.add(["long", "missing", "short"].map(str::to_owned).to_vec());
        let mut lengths = Vec::new();
        while !removal.is_done() {
            removal.step().unwrap();
            lengths.push(folder.content("long").len());
        }
        assert_eq!(lengths, [length + 5, 5, 0, 0, 0]);
        assert_eq!(folder.names().unwrap(), ["other"]);
    }

    #[test]
    fn one_that_cannot_be_removed_is_left() {
        let folder = Memory::default();
        folder.put("one", vec![1; 5]);
        folder.put("two", vec![1; 5]);
        let mut removal = Removal::new(folder.clone());
        removal.add(["one", "two"].map(str::to_owned).to_vec());
        folder.fail_at(Some(0));
        removal.step().unwrap_err();
        folder.fail_at(None);
        removal.step().unwrap();
        assert!(removal.is_done());
        assert_eq!(folder.names().unwrap(), ["one"]);
    }
}
