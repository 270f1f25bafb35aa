//! What servers say to each other, as bytes: postcard, a compact format without names.
//!
//! Owns the bounds of a frame; the version of the format is agreed on by the HTTP upgrade of the
//! link, before the first frame.

use std::fmt;

use crate::consensus::message::Frame;

/// The most bytes of a frame. The largest are parts of a log and batches of entries.
pub const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// There are more than [`MAX_FRAME_BYTES`].
    TooLarge,
    /// They say nothing that is known.
    Malformed,
    /// Something comes after the frame.
    Trailing,
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "a frame has at most {MAX_FRAME_BYTES} bytes"),
            Self::Malformed => f.write_str("the bytes are no frame"),
            Self::Trailing => f.write_str("there is something after the frame"),
        }
    }
}

impl std::error::Error for BadFrame {}

/// The bytes of a frame.
///
/// # Panics
/// When there are more than [`MAX_FRAME_BYTES`]: no message is made as long as that, and the other
/// server would refuse it for ever.
#[must_use]
pub fn encode(frame: &Frame) -> Vec<u8> {
    let bytes = postcard::to_allocvec(frame)
        .expect("memory is the only sink, and every message has a form");
    assert!(bytes.len() <= MAX_FRAME_BYTES, "a message is made too long: {} bytes", bytes.len());
    bytes
}

/// The frame that the bytes say.
///
/// # Errors
/// [`BadFrame`] says what is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<Frame, BadFrame> {
    if bytes.len() > MAX_FRAME_BYTES {
        return Err(BadFrame::TooLarge);
    }
    match postcard::take_from_bytes(bytes) {
        Ok((frame, [])) => Ok(frame),
        Ok(_) => Err(BadFrame::Trailing),
        Err(_) => Err(BadFrame::Malformed),
    }
}

#[cfg(test)]
mod tests;
