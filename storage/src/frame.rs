//! A file as a row of frames behind a preamble, each with a checksum.
//!
//! All numbers are little-endian. The preamble is the same in all versions:
//!
//! | Bytes | What |
//! |---|---|
//! | 8 | `rollcall` |
//! | 4 | version of the format |
//! | 4 | kind of file |
//! | 8 | salt: random, in every checksum of the file |
//! | 4 | checksum (CRC-32) of the 24 bytes before |
//! | 4 | zeros |
//!
//! A frame: 4 bytes kind, 4 bytes length of its content, 8 bytes its number from 0 on, 4 bytes
//! checksum of the content, 4 bytes checksum of these 20 bytes; then the content, and zeros up to a
//! multiple of 8. Both checksums begin with the salt, so that no frame of another file is taken for
//! one of this.

use crc32fast::Hasher;

use crate::FORMAT;
use crate::fault::{Damage, OpenError, Refused};

/// What begins every file.
pub(crate) const MAGIC: &[u8; 8] = b"rollcall";
/// How long the preamble is, bytes.
pub(crate) const PREAMBLE: usize = 32;
/// How much a frame takes besides its content and what fills it up, bytes.
const FRAME: usize = 24;
/// Frames begin at multiples of this, bytes.
const ALIGN: usize = 8;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Journal = 1,
    Snapshot = 2,
    Backup = 3,
}

impl FileKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Snapshot => "snapshot",
            Self::Backup => "backup",
        }
    }
}

/// What a frame is. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// What the file begins with.
    Head = 1,
    /// Records of a journal, or none: then it says that all before it is durable.
    Group = 2,
    /// The journal goes on in the next segment.
    Seal = 3,
    /// A piece of a snapshot.
    Piece = 4,
    /// The end of a snapshot.
    End = 5,
}

impl FrameKind {
    const ALL: [Self; 5] = [Self::Head, Self::Group, Self::Seal, Self::Piece, Self::End];
}

/// The preamble of a file.
pub(crate) fn preamble(kind: FileKind, salt: u64) -> [u8; PREAMBLE] {
    let mut bytes = [0; PREAMBLE];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[12..16].copy_from_slice(&(kind as u32).to_le_bytes());
    bytes[16..24].copy_from_slice(&salt.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..24]);
    bytes[24..28].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The salt of a file that begins with these bytes.
pub(crate) fn read_preamble(file: &str, kind: FileKind, bytes: &[u8]) -> Result<u64, OpenError> {
    let damage = |offset, what: &str| Damage { file: file.into(), offset, what: what.into() };
    if bytes.len() < PREAMBLE {
        return Err(damage(bytes.len() as u64, "it ends before its content begins").into());
    }
    if bytes[..8] != *MAGIC && crc32fast::hash(&bytes[..24]) == u32_at(bytes, 24) {
        return Err(Refused::OtherKind { file: file.into(), expected: kind.name() }.into());
    }
    if crc32fast::hash(&bytes[..24]) != u32_at(bytes, 24) {
        return Err(damage(0, "the checksum of its beginning is wrong").into());
    }
    let format = u32_at(bytes, 8);
    if format > FORMAT {
        return Err(Refused::Newer { file: file.into(), format }.into());
    }
    if u32_at(bytes, 12) != kind as u32 {
        return Err(Refused::OtherKind { file: file.into(), expected: kind.name() }.into());
    }
    if bytes[28..PREAMBLE] != [0; 4] {
        return Err(damage(28, "there is something where nothing was written").into());
    }
    Ok(u64_at(bytes, 16))
}

/// Adds a frame to `out`.
///
/// # Panics
/// When the content has 4 GiB or more: nothing is made as long as that.
pub(crate) fn push(out: &mut Vec<u8>, salt: u64, number: u64, kind: FrameKind, content: &[u8]) {
    let length = u32::try_from(content.len()).expect("a frame has less than 4 GiB");
    let begin = out.len();
    out.extend_from_slice(&(kind as u32).to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&checksum(salt, content).to_le_bytes());
    let sum = checksum(salt, &out[begin..]);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(content);
    out.resize(begin + size(content.len()), 0);
}

/// How much room a frame with that much content takes, bytes.
pub(crate) const fn size(content: usize) -> usize {
    FRAME + content.next_multiple_of(ALIGN)
}

/// What there is at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// Nothing was written: zeros, to the end.
    Nothing,
    /// Something else, and what is wrong with it.
    Broken(&'static str),
}

/// A frame that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: FrameKind,
    pub(crate) number: u64,
    pub(crate) content: &'a [u8],
    /// Where the next one begins.
    pub(crate) next: usize,
}

/// Reads what is at `offset` of a file.
pub(crate) fn read(file: &[u8], salt: u64, offset: usize) -> At<'_> {
    match read_frame(file, salt, offset) {
        Ok(frame) => At::Frame(frame),
        Err(_) if file[offset.min(file.len())..].iter().all(|byte| *byte == 0) => At::Nothing,
        Err(what) => At::Broken(what),
    }
}

fn read_frame(file: &[u8], salt: u64, offset: usize) -> Result<Frame<'_>, &'static str> {
    let rest = file.get(offset..).unwrap_or_default();
    let head = rest.get(..FRAME).ok_or("it ends within a frame")?;
    if checksum(salt, &head[..20]) != u32_at(head, 20) {
        return Err("the checksum of a frame's head is wrong");
    }
    let kind = u32_at(head, 0);
    let kind = FrameKind::ALL.into_iter().find(|known| *known as u32 == kind);
    let kind = kind.ok_or("a frame is of an unknown kind")?;
    let length = u32_at(head, 4) as usize;
    let whole = rest.get(..size(length)).ok_or("it ends within a frame")?;
    let content = &whole[FRAME..FRAME + length];
    if checksum(salt, content) != u32_at(head, 16) {
        return Err("the checksum of a frame's content is wrong");
    }
    Ok(Frame { kind, number: u64_at(head, 8), content, next: offset + size(length) })
}

/// The first whole frame at or after `offset`, if there is any. Its number is `from` at least.
pub(crate) fn find(file: &[u8], salt: u64, offset: usize, from: u64) -> Option<usize> {
    let starts = (offset.next_multiple_of(ALIGN)..file.len()).step_by(ALIGN);
    let looks_like_one = |at: &usize| {
        file.get(*at..*at + FRAME).is_some_and(|head| head[0] != 0 && head[1..4] == [0; 3])
    };
    starts
        .filter(looks_like_one)
        .find(|at| read_frame(file, salt, *at).is_ok_and(|frame| frame.number >= from))
}

fn checksum(salt: u64, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    u32::from_le_bytes(four.unwrap_or_default())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok());
    u64::from_le_bytes(eight.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut file = Vec::new();
        push(&mut file, 7, 0, FrameKind::Head, b"the first");
        push(&mut file, 7, 1, FrameKind::Group, b"");
        push(&mut file, 7, 2, FrameKind::Group, b"another one, longer");
        file
    }

    #[test]
    fn frames_come_back_as_they_were() {
        let mut file = file();
        file.resize(file.len() + 100, 0);
        let (mut offset, mut contents) = (0, Vec::new());
        while let At::Frame(frame) = read(&file, 7, offset) {
            assert_eq!(frame.number, contents.len() as u64);
            contents.push(frame.content.to_vec());
            offset = frame.next;
        }
        assert_eq!(contents, [&b"the first"[..], b"", b"another one, longer"]);
        assert_eq!(read(&file, 7, offset), At::Nothing);
        assert!(matches!(read(&file, 8, 0), At::Broken(_)), "the frame of another file");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let whole = file();
        for bit in 0..whole.len() * 8 {
            let mut file = whole.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            let mut offset = 0;
            let broken = loop {
                match read(&file, 7, offset) {
                    At::Frame(frame) if frame.next == file.len() => break false,
                    At::Frame(frame) => offset = frame.next,
                    At::Nothing | At::Broken(_) => break true,
                }
            };
            // What fills a frame up says nothing.
            let filling =
                (FRAME + 9..FRAME + 16).contains(&(bit / 8)) || bit / 8 >= whole.len() - 5;
            assert!(broken || filling, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_behind_a_broken_one_is_found() {
        let mut file = file();
        file[4] ^= 1;
        let second = size(9);
        assert_eq!(find(&file, 7, 0, 1), Some(second));
        assert_eq!(find(&file, 7, 0, 2), Some(second + size(0)));
        assert_eq!(find(&file, 7, 0, 3), None);
    }

    #[test]
    fn preambles_say_what_a_file_is() {
        let good = preamble(FileKind::Journal, 99);
        assert_eq!(read_preamble("f", FileKind::Journal, &good).unwrap(), 99);
        let other = read_preamble("f", FileKind::Snapshot, &good).unwrap_err();
        assert_eq!(other.to_string(), "f is no snapshot of Rollcall");
        let mut newer = good;
        newer[8] = 9;
        let sum = crc32fast::hash(&newer[..24]);
        newer[24..28].copy_from_slice(&sum.to_le_bytes());
        let error = read_preamble("f", FileKind::Journal, &newer).unwrap_err();
        assert!(error.to_string().contains("has format 9"), "{error}");
        for bit in 0..PREAMBLE * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = read_preamble("f", FileKind::Journal, &bad).unwrap_err();
            assert!(matches!(error, OpenError::Damage(_)), "bit {bit}: {error}");
        }
        assert!(read_preamble("f", FileKind::Journal, &good[..20]).is_err());
    }
}
