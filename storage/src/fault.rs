//! What can go wrong, and whose fault it is: the disk's, the files', or that of who chose the folder.

use std::fmt;
use std::io;

use rollcall_shared::id::NodeId;

use crate::FORMAT;

/// The disk did not do what it was told. What it holds then is not known; nothing is tried again.
#[derive(Debug)]
pub struct Failed {
    /// What was to be done: "write", "sync", ….
    pub doing: &'static str,
    /// To which file.
    pub file: String,
    /// What the system says.
    pub why: io::Error,
}

impl Failed {
    pub(crate) fn new(
        doing: &'static str,
        file: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |why| Self { doing, file, why }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, file, why } = self;
        write!(f, "cannot {doing} {file}: {why}")
    }
}

impl std::error::Error for Failed {}

/// A file is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which one.
    pub file: String,
    /// Where in it, bytes from its beginning.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, what } = self;
        write!(f, "{file} is damaged at byte {offset}: {what}")
    }
}

impl std::error::Error for Damage {}

/// The files are whole, but not for this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A newer version of the program wrote them.
    Newer {
        /// The file.
        file: String,
        /// Its version.
        format: u32,
    },
    /// They belong to another server.
    WrongServer {
        /// To which.
        found: NodeId,
        /// Who wants to use them.
        expected: NodeId,
    },
    /// They are of several clusters, or of several lives of one server.
    Mixed {
        /// The file that does not belong to the others.
        file: String,
    },
    /// It is no file of this kind.
    OtherKind {
        /// The file.
        file: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { file, format } => write!(
                f,
                "{file} has format {format}, and this version reads up to {FORMAT}: a newer \
                 version wrote it; use that one"
            ),
            Self::WrongServer { found, expected } => write!(
                f,
                "the folder belongs to server {found}, and this is server {expected}: give each \
                 server a folder of its own"
            ),
            Self::Mixed { file } => write!(
                f,
                "{file} belongs to another server or another cluster than the files beside it: a \
                 folder must be copied as a whole, or not at all"
            ),
            Self::OtherKind { file, expected } => write!(f, "{file} is no {expected} of Rollcall"),
        }
    }
}

impl std::error::Error for Refused {}

/// Why a folder cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// The disk does not play along.
    Failed(Failed),
    /// A file is not what was written.
    Damage(Damage),
    /// The files are not for this server.
    Refused(Refused),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failed) => failed.fmt(f),
            Self::Damage(damage) => damage.fmt(f),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<Failed> for OpenError {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl From<Refused> for OpenError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
