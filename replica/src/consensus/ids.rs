//! Numbers and names of the replication protocol.
//!
//! Owns their types and plain arithmetic; what they mean for safety is the rules' business.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number with a meaning of its own.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// The number of a leadership: 0, 1, 2, ….
    Epoch
);
number!(
    /// The place of an entry in the log: 1, 2, …; 0 is before the first.
    Index
);
number!(
    /// The random identity of a server's stored state. A server that lost its disk has another one.
    Boot
);
number!(
    /// The random identity of one start of a server's process.
    ProcessId
);
number!(
    /// The random identity of one life of the cluster.
    ClusterId
);
number!(
    /// The number of a link between two servers, unique within one start of a process.
    PeerLink
);
number!(
    /// The place of a record in a server's journal: 1, 2, …; 0 is before the first.
    Lsn
);
number!(
    /// A read that waits for its read point, unique within one start of a process.
    ReadId
);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Index {
    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The index before this one, 0 before the first.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}
