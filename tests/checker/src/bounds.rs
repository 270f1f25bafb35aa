//! How much may happen in a model, and the models that are worth exploring.

/// What is explored: all runs with at most this much trouble.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What it is called on the command line.
    pub name: &'static str,
    /// How many servers.
    pub members: u32,
    /// The epochs that their leaders may try to lead, besides 0, which is led at the beginning.
    pub epochs: &'static [u64],
    /// How many writes leaders may take, all together.
    pub writes: u32,
    /// How many links may break; all messages on their way are lost then.
    pub breaks: u32,
    /// How many processes may crash and start again.
    pub crashes: u32,
    /// How many of these lose their disk.
    pub lost_disks: u32,
    /// Whether records take a while to be durable, so that a crash may lose them.
    pub slow_disks: bool,
    /// Whether it is explored in the time that a test may take.
    pub short: bool,
}

const QUIET: Bounds = Bounds {
    name: "",
    members: 3,
    epochs: &[1],
    writes: 1,
    breaks: 0,
    crashes: 0,
    lost_disks: 0,
    slow_disks: false,
    short: false,
};
const PAIR: Bounds = Bounds { members: 2, short: true, ..QUIET };
const THREE: Bounds = Bounds { short: true, ..QUIET };
const FOUR: Bounds = Bounds { members: 4, ..QUIET };
const ALL_AT_ONCE: Bounds =
    Bounds { writes: 3, breaks: 2, crashes: 2, lost_disks: 1, slow_disks: true, ..QUIET };

/// The models, by size of the cluster.
pub const ALL: [Bounds; 20] = [
    Bounds { name: "pair", epochs: &[1, 2, 3], writes: 2, breaks: 1, ..PAIR },
    Bounds { name: "pair-crash", epochs: &[1, 2, 3], crashes: 2, slow_disks: true, ..PAIR },
    Bounds { name: "pair-disk", epochs: &[1, 2], writes: 2, crashes: 2, lost_disks: 1, ..PAIR },
    Bounds { name: "three", epochs: &[1, 2], ..THREE },
    Bounds { name: "three-writes", writes: 2, ..THREE },
    Bounds { name: "three-break", breaks: 1, ..THREE },
    Bounds { name: "three-crash", crashes: 1, slow_disks: true, ..THREE },
    Bounds { name: "three-disk", crashes: 1, lost_disks: 1, ..THREE },
    Bounds { name: "three-two-breaks", epochs: &[1, 2], breaks: 1, ..QUIET },
    Bounds { name: "three-two-crashes", epochs: &[1, 2], crashes: 1, slow_disks: true, ..QUIET },
    Bounds { name: "three-two-disks", crashes: 2, lost_disks: 2, ..QUIET },
    Bounds { name: "three-round", epochs: &[1, 2, 3], ..QUIET },
    Bounds { name: "four", short: true, ..FOUR },
    Bounds { name: "four-break", breaks: 1, ..FOUR },
    Bounds { name: "four-disk", crashes: 1, lost_disks: 1, ..FOUR },
    Bounds { name: "four-rivals", epochs: &[1, 2], ..FOUR },
    Bounds { name: "four-return", epochs: &[2, 4], ..FOUR },
    Bounds { name: "four-insist", epochs: &[2, 4, 8], ..FOUR },
    Bounds { name: "five-all", members: 5, epochs: &[1, 2, 3], ..ALL_AT_ONCE },
    Bounds { name: "six-all", members: 6, epochs: &[2, 5, 6, 8], ..ALL_AT_ONCE },
];

impl Bounds {
    /// The model with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|bounds| bounds.name == name)
    }

    /// What is explored, for a person.
    #[must_use]
    pub fn words(&self) -> String {
        let some = |count: u32, what: &str| match count {
            0 => String::new(),
            1 => format!(", 1 {what}"),
            _ => format!(", {count} {what}s"),
        };
        format!(
            "{} servers, epochs {:?}{}{}{}{}{}",
            self.members,
            self.epochs,
            some(self.writes, "write"),
            some(self.breaks, "broken link"),
            some(self.crashes, "crash").replace("crashs", "crashes"),
            some(self.lost_disks, "lost disk"),
            if self.slow_disks { ", records are durable late" } else { "" },
        )
    }

    /// The last epoch that anyone may try to lead.
    #[must_use]
    pub fn last_epoch(&self) -> u64 {
        self.epochs.last().copied().unwrap_or(0)
    }
}
