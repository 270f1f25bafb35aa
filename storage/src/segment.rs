//! A segment as a file that is written to.
//!
//! Owns how it comes to be: under another name, with its head durable, before it gets its own.

use crate::fault::Failed;
use crate::folder::{File, Folder};
use crate::frame::{self, FileKind, FrameKind};
use crate::names;
use crate::record::{End, SegmentHead};
use crate::recovery::Found;

/// The segment that is written to.
pub(crate) struct Segment<File> {
    file: File,
    name: String,
    number: u64,
    salt: u64,
    /// How long the file is.
    bytes: u64,
    /// Where the next frame goes, and its number.
    offset: u64,
    frames: u64,
    /// Whether there is a mark. It does not count, and the next frame goes over it: it is not
    /// durable, so nothing may rest on it.
    marked: bool,
    buffer: Vec<u8>,
}

/// What is kept free for a mark and the seal.
const TAIL_ROOM: u64 = 2 * frame::size(0) as u64;

/// Makes the file of a segment to come. Zeros are written all over it: a disk syncs what was written
/// before in two thirds of the time that it takes for what was only reserved.
pub(crate) fn make_spare<F: Folder>(
    folder: &F,
    bytes: u64,
    mut progress: impl FnMut(),
) -> Result<F::File, Failed> {
    let name = names::SPARE;
    let mut file = prepare(folder, name, bytes)?;
    let zeros = vec![0; usize::try_from(bytes.min(ZEROS)).unwrap_or_default()];
    for offset in (0..bytes).step_by(ZEROS as usize) {
        let count = usize::try_from((bytes - offset).min(ZEROS)).unwrap_or_default();
        file.write_at(offset, &zeros[..count]).map_err(Failed::new("write", name))?;
        // A bit at a time: a sync of all at the end would hold up the journal's on the same disk.
        file.sync().map_err(Failed::new("sync", name))?;
        progress();
    }
    Ok(file)
}

fn prepare<F: Folder>(folder: &F, name: &str, bytes: u64) -> Result<F::File, Failed> {
    let mut file = folder.create(name).map_err(Failed::new("create", name))?;
    file.allocate(bytes).map_err(Failed::new("make room for", name))?;
    file.sync().map_err(Failed::new("sync", name))?;
    Ok(file)
}

/// Makes a segment of `room` bytes, or more if its beginning and the `next` bytes of frames need more,
/// that begins with a group unless that is empty. `spare` is the file of [`make_spare`] with that room.
pub(crate) fn make<F: Folder>(
    folder: &F,
    spare: Option<F::File>,
    room: u64,
    salt: u64,
    mut head: SegmentHead,
    group: &[u8],
    next: u64,
) -> Result<Segment<F::File>, Failed> {
    let number = head.number;
    let name = names::journal(number);
    let encode = |head: &SegmentHead| postcard::to_allocvec(head).expect("memory takes all");
    // With the longest number in it, so that the length is right for the shortest too.
    head.bytes = u64::MAX;
    let beginning = frame::PREAMBLE + frame::size(encode(&head).len()) + frame::size(group.len());
    let bytes = room.max(beginning as u64 + next + TAIL_ROOM);
    head.bytes = bytes;
    let (mut file, made_as) = match spare {
        Some(file) if bytes == room => (file, names::SPARE),
        _ => (prepare(folder, names::NEXT, bytes)?, names::NEXT),
    };
    let mut buffer = frame::preamble(FileKind::Journal, salt).to_vec();
    frame::push(&mut buffer, salt, 0, FrameKind::Head, &encode(&head));
    let mut frames = 1;
    if !group.is_empty() {
        frame::push(&mut buffer, salt, frames, FrameKind::Group, group);
        frames += 1;
    }
    let offset = buffer.len() as u64;
    // All of this is durable before the file has its name.
    frame::push(&mut buffer, salt, frames, FrameKind::Group, &[]);
    file.write_at(0, &buffer).map_err(Failed::new("write", &name))?;
    file.sync().map_err(Failed::new("sync", &name))?;
    folder.rename(made_as, &name).map_err(Failed::new("rename", made_as))?;
    folder.sync().map_err(Failed::new("sync", "the folder"))?;
    Ok(Segment { file, name, number, salt, bytes, offset, frames, marked: true, buffer })
}

/// Says in a segment that was left by an earlier process that the journal goes on in the next one.
pub(crate) fn seal<F: Folder>(folder: &F, found: &Found) -> Result<(), Failed> {
    let Found { end: End { number, salt, offset }, frames, .. } = *found;
    let name = names::journal(number);
    let file = folder.open(&name).map_err(Failed::new("open", &name))?;
    let (marked, buffer) = Default::default();
    Segment { file, name, number, salt, bytes: u64::MAX, offset, frames, marked, buffer }.seal()
}

impl<F: File> Segment<F> {
    /// Behind its last frame.
    pub(crate) const fn end(&self) -> End {
        End { number: self.number, salt: self.salt, offset: self.offset }
    }

    /// How many bytes are used.
    pub(crate) const fn used(&self) -> u64 {
        self.offset
    }

    /// Whether a frame of `size` bytes fits.
    pub(crate) const fn has_room(&self, size: u64) -> bool {
        self.offset + size + TAIL_ROOM <= self.bytes
    }

    /// Writes a frame.
    pub(crate) fn push(&mut self, kind: FrameKind, content: &[u8]) -> Result<(), Failed> {
        self.write(kind, content)?;
        self.offset += self.buffer.len() as u64;
        self.frames += 1;
        self.marked = false;
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    fn write(&mut self, kind: FrameKind, content: &[u8]) -> Result<(), Failed> {
        self.buffer.clear();
        frame::push(&mut self.buffer, self.salt, self.frames, kind, content);
        let at = self.offset;
        self.file.write_at(at, &self.buffer).map_err(Failed::new("write", &self.name))
    }

    /// Makes all frames durable.
    pub(crate) fn sync(&mut self) -> Result<(), Failed> {
        self.file.sync().map_err(Failed::new("sync", &self.name))
    }

    /// Writes a mark behind the last frame, unless there is one.
    pub(crate) fn mark(&mut self) -> Result<(), Failed> {
        if !self.marked {
            self.write(FrameKind::Group, &[])?;
            self.marked = true;
        }
        Ok(())
    }

    /// Ends it: the journal goes on in the next one, which is durable. If this is lost in a crash,
    /// nothing else is.
    pub(crate) fn seal(mut self) -> Result<(), Failed> {
        self.push(FrameKind::Seal, &[])?;
        self.file.truncate(self.offset).map_err(Failed::new("cut", &self.name))
    }
}

/// How many zeros are written at once, bytes.
const ZEROS: u64 = 1 << 20;
/// The largest buffer that is kept for the next frame, bytes.
const KEPT_BUFFER: usize = 8 << 20;
