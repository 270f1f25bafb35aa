//! A snapshot as a file: written piece by piece beside the journal, and read as a whole.
//!
//! Frames: a head that says of what it is, the pieces of the directory in order, an end. It is
//! durable, under its name, before any record speaks of it.

use std::sync::Arc;

use rollcall_replica::consensus::admissions::Admissions;
use rollcall_replica::consensus::ids::{Boot, ClusterId, Epoch, Index};
use rollcall_replica::consensus::log::Snapshot;
use rollcall_replica::directory::Directory;
use rollcall_replica::directory::snapshot::{Builder, Cursor, Piece};
use rollcall_shared::id::NodeId;
use serde::{Deserialize, Serialize};

use crate::fault::{Damage, Failed, OpenError, Refused};
use crate::folder::{File, Folder};
use crate::frame::{self, At, FileKind, FrameKind};
use crate::names;
use crate::record::SnapshotRef;

/// A snapshot that is to be written.
#[derive(Clone, Debug)]
pub struct SnapshotJob {
    pub(crate) number: u64,
    pub(crate) salt: u64,
    pub(crate) node: NodeId,
    pub(crate) boot: Option<Boot>,
    pub(crate) snapshot: Arc<Snapshot>,
}

/// A snapshot that is durable, and not in use yet.
#[derive(Clone, Copy, Debug)]
pub struct Written(pub(crate) SnapshotRef);

impl Written {
    /// How long its file is, bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.0.bytes
    }
}

/// Writes a snapshot, a step at a time.
pub struct SnapshotWriter<F: Folder> {
    folder: F,
    job: SnapshotJob,
    pieces: Pieces<F::File>,
}

impl<F: Folder> SnapshotWriter<F> {
    /// Makes the file.
    ///
    /// # Errors
    /// The disk fails.
    pub fn new(folder: F, job: SnapshotJob) -> Result<Self, Failed> {
        let name = names::snapshot(job.number);
        let file = folder.create(&name).map_err(Failed::new("create", &name))?;
        let SnapshotJob { node, boot, .. } = job;
        let Snapshot { index, epoch, cluster, ref admissions, .. } = *job.snapshot;
        let head = Head { node, boot, cluster, index, epoch, admissions: admissions.clone() };
        let encoder = Encoder::new(FileKind::Snapshot, job.salt, &head);
        let pieces = Pieces::new(file, name, encoder);
        Ok(Self { folder, job, pieces })
    }

    /// Writes the next piece: about 128 KiB. Says when all of it is durable.
    ///
    /// # Errors
    /// The disk fails.
    pub fn step(&mut self) -> Result<Option<Written>, Failed> {
        if !self.pieces.step(&self.job.snapshot.directory)? {
            return Ok(None);
        }
        self.folder.sync().map_err(Failed::new("sync", "the folder"))?;
        let Snapshot { index, epoch, .. } = *self.job.snapshot;
        let bytes = self.pieces.offset;
        Ok(Some(Written(SnapshotRef { number: self.job.number, index, epoch, bytes })))
    }

    /// Removes what is written so far.
    ///
    /// # Errors
    /// The disk fails.
    pub fn give_up(self) -> Result<(), Failed> {
        let name = names::snapshot(self.job.number);
        self.folder.remove(&name).map_err(Failed::new("remove", name))
    }
}

/// What a snapshot begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    node: NodeId,
    boot: Option<Boot>,
    cluster: ClusterId,
    index: Index,
    epoch: Epoch,
    admissions: Admissions,
}

/// A head and the pieces of a directory as the bytes of a file, part by part.
pub(crate) struct Encoder {
    salt: u64,
    frames: u64,
    /// What comes before the next piece.
    begun: Vec<u8>,
    /// Where the next piece begins; none behind the last one.
    next: Option<Cursor>,
}

impl Encoder {
    pub(crate) fn new(kind: FileKind, salt: u64, head: &impl Serialize) -> Self {
        let mut begun = frame::preamble(kind, salt).to_vec();
        let head = postcard::to_allocvec(head).expect("memory takes all, and all has a form");
        frame::push(&mut begun, salt, 0, FrameKind::Head, &head);
        Self { salt, frames: 1, begun, next: Some(Cursor::start()) }
    }

    /// The next part: about 128 KiB.
    pub(crate) fn poll(&mut self, directory: &Directory) -> Option<Vec<u8>> {
        let piece = directory.piece(&self.next.take()?, PIECE_BYTES);
        let mut bytes = std::mem::take(&mut self.begun);
        let content = postcard::to_allocvec(&piece).expect("memory takes all, and all has a form");
        frame::push(&mut bytes, self.salt, self.frames, FrameKind::Piece, &content);
        self.frames += 1;
        self.next = piece.next;
        if self.next.is_none() {
            frame::push(&mut bytes, self.salt, self.frames, FrameKind::End, &[]);
        }
        Some(bytes)
    }

    const fn is_whole(&self) -> bool {
        self.next.is_none()
    }
}

/// The same, on its way to a file.
pub(crate) struct Pieces<File> {
    file: File,
    name: String,
    encoder: Encoder,
    /// Where the next part goes.
    pub(crate) offset: u64,
    unsynced: usize,
}

impl<F: File> Pieces<F> {
    /// Of an empty file; `name` is its name in errors.
    pub(crate) const fn new(file: F, name: String, encoder: Encoder) -> Self {
        Self { file, name, encoder, offset: 0, unsynced: 0 }
    }

    /// Writes the next piece; whether all is there, and durable.
    pub(crate) fn step(&mut self, directory: &Directory) -> Result<bool, Failed> {
        let name = self.name.as_str();
        if let Some(bytes) = self.encoder.poll(directory) {
            self.file.write_at(self.offset, &bytes).map_err(Failed::new("write", name))?;
            self.offset += bytes.len() as u64;
            self.unsynced += bytes.len();
        }
        let whole = self.encoder.is_whole();
        // A bit at a time: a sync of all at the end would hold up the journal's on the same disk.
        if self.unsynced > 0 && (whole || self.unsynced >= SYNC_BYTES) {
            self.file.sync().map_err(Failed::new("sync", name))?;
            self.unsynced = 0;
        }
        Ok(whole)
    }
}

/// About how many bytes a piece has: in tests so few that there are some.
const PIECE_BYTES: usize = if cfg!(test) { 1024 } else { 128 * 1024 };
/// After how many bytes a snapshot is synced while it is written.
const SYNC_BYTES: usize = if cfg!(test) { 2048 } else { 256 << 10 };

/// Reads the snapshot that a journal of this server counts on.
pub(crate) fn read<F: Folder>(
    folder: &F,
    reference: SnapshotRef,
    owner: (NodeId, Option<Boot>),
) -> Result<Arc<Snapshot>, OpenError> {
    let name = names::snapshot(reference.number);
    let bytes = read_file(folder, &name)?;
    let (head, directory) = read_pieces::<Head>(&name, FileKind::Snapshot, &bytes)?;
    if bytes.len() as u64 != reference.bytes {
        let what = format!("it has {} bytes instead of {}", bytes.len(), reference.bytes);
        let offset = reference.bytes.min(bytes.len() as u64);
        return Err(Damage { file: name, offset, what }.into());
    }
    let Head { node, boot, cluster, index, epoch, admissions } = head;
    if (node, boot, index, epoch) != (owner.0, owner.1, reference.index, reference.epoch) {
        return Err(Refused::Mixed { file: name }.into());
    }
    Ok(Arc::new(Snapshot { index, epoch, cluster, admissions, directory }))
}

/// All of a file.
pub(crate) fn read_file<F: Folder>(folder: &F, name: &str) -> Result<Vec<u8>, OpenError> {
    let file = folder.open(name).map_err(|why| {
        if why.kind() == std::io::ErrorKind::NotFound {
            let what = "it is missing".into();
            return OpenError::from(Damage { file: name.into(), offset: 0, what });
        }
        Failed::new("open", name)(why).into()
    })?;
    let length = file.len().map_err(Failed::new("read", name))?;
    let length = usize::try_from(length).map_err(|_| Damage {
        file: name.into(),
        offset: 0,
        what: "it is longer than memory can be".into(),
    })?;
    let mut bytes = vec![0; length];
    file.read_at(0, &mut bytes).map_err(Failed::new("read", name))?;
    Ok(bytes)
}

/// The head and the directory of a file that has nothing else.
pub(crate) fn read_pieces<H: for<'a> Deserialize<'a>>(
    name: &str,
    kind: FileKind,
    bytes: &[u8],
) -> Result<(H, Directory), OpenError> {
    let salt = frame::read_preamble(name, kind, bytes)?;
    let damage = |offset: usize, what: String| {
        OpenError::from(Damage { file: name.into(), offset: offset as u64, what })
    };
    let (mut offset, mut number) = (frame::PREAMBLE, 0);
    let mut head = None;
    let mut builder = Builder::default();
    loop {
        let frame = match frame::read(bytes, salt, offset) {
            At::Frame(frame) if frame.number == number => frame,
            At::Frame(_) => return Err(damage(offset, "a frame is missing before it".into())),
            At::Nothing => return Err(damage(offset, "it ends too early".into())),
            At::Broken(what) => return Err(damage(offset, what.into())),
        };
        let unknown = |_| damage(offset, "a frame says nothing that is known".into());
        match (frame.kind, &head) {
            (FrameKind::Head, None) => {
                head = Some(postcard::from_bytes::<H>(frame.content).map_err(unknown)?);
            }
            (FrameKind::Piece, Some(_)) => {
                let piece: Piece = postcard::from_bytes(frame.content).map_err(unknown)?;
                builder.push(piece).map_err(|bad| damage(offset, bad.to_string()))?;
            }
            (FrameKind::End, Some(_)) if frame.next == bytes.len() => break,
            _ => return Err(damage(offset, "a frame is where it does not belong".into())),
        }
        (offset, number) = (frame.next, number + 1);
    }
    let directory = builder.finish().map_err(|bad| damage(offset, bad.to_string()))?;
    match head {
        Some(head) => Ok((head, directory)),
        None => Err(damage(offset, "it has no head".into())),
    }
}
