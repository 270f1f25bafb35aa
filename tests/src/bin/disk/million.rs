//! The folder of a server with a million registrations and a journal behind its snapshot.

use std::{path::Path, time::Duration};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    Result,
    load::{Ask, IN_FLIGHT, Load, Pace},
    place::{Bed, Content, copy},
    server::{Keeps, Server},
};

/// Made once. No server runs on it; copies of it are used.
#[derive(Debug)]
pub(crate) struct Million {
    folder: TempDir,
    content: Content,
}

/// What the servers are started with: registrations outlive every run, and links that say nothing
/// for a while are not taken for dead.
pub(crate) const FLAGS: &[&str] =
    &["--session-grace-ms", "3600000", "--heartbeat-ms", "120000", "--first-message-ms", "120000"];

impl Million {
    /// Registers the users at a server, goes on until a snapshot has them all and the journal behind
    /// it is as long as it is to be, and kills the server.
    pub(crate) async fn make(bed: &Bed) -> Result<Self> {
        let (folder, scratch) = (bed.folder()?, bed.folder()?);
        let server = Server::start(Keeps::In(folder.path()), scratch.path(), FLAGS).await?;
        let load = Load::open(server.place.address).await?.all(Ask::Users).await?;
        let running = load.begin(Ask::Numbers, Pace::Closed(IN_FLIGHT));
        let mut watch = Watch::new(folder.path());
        // One that is being written now may be of the time before the last user came.
        watch.quiet().await?;
        watch.snapshot_begins().await?;
        watch.quiet().await?;
        // The snapshot's last entry is in the first segment, and the last one has only begun.
        watch.until("a journal", |content| content.segments.len() >= SEGMENTS).await?;
        running.stop().await?;
        server.kill().await?;
        let content = Content::of(folder.path())?;
        if content.snapshots.len() != 1 {
            return Err("the next snapshot has begun already".into());
        }
        Ok(Self { folder, content })
    }

    /// A copy, durable.
    pub(crate) fn copy(&self, bed: &Bed) -> Result<TempDir> {
        let folder = bed.folder()?;
        copy(self.folder.path(), folder.path())?;
        Ok(folder)
    }

    /// What it is like, in words.
    pub(crate) fn describe(&self) -> String {
        let Content { room, segments, snapshots } = &self.content;
        let snapshot = snapshots.last().map_or(0, |(_, bytes)| *bytes);
        let least = (segments.len() - 2) * 16;
        format!(
            "a million registrations are a snapshot of {:.1} MB; the journal behind it has {least} \
             to {} MiB; all files take {:.0} MB",
            snapshot as f64 / 1e6,
            least + 16,
            *room as f64 / 1e6
        )
    }
}

/// Looks at a data folder again and again, and keeps the most room it took.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    folder: &'a Path,
    pub(crate) room: u64,
    /// The longest snapshot.
    pub(crate) snapshot: u64,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(folder: &'a Path) -> Self {
        Self { folder, room: 0, snapshot: 0 }
    }

    /// Waits until a snapshot is begun that is not there now.
    pub(crate) async fn snapshot_begins(&mut self) -> Result {
        let last = Content::of(self.folder)?.newest();
        self.until("a snapshot", |content| content.newest() > last).await
    }

    /// Waits until no snapshot is being written: only one is there.
    pub(crate) async fn quiet(&mut self) -> Result {
        self.until("the end of a snapshot", |content| content.snapshots.len() == 1).await
    }

    /// Looks for so long, or until a snapshot is begun; how long that was.
    pub(crate) async fn stays_quiet(&mut self, time: Duration) -> Result<Duration> {
        let begun = Instant::now();
        while begun.elapsed() < time && self.look()?.snapshots.len() == 1 {
            sleep(POLL).await;
        }
        Ok(begun.elapsed())
    }

    async fn until(&mut self, what: &str, is: impl Fn(&Content) -> bool) -> Result {
        let end = Instant::now() + PATIENCE;
        while !is(&self.look()?) {
            if Instant::now() > end {
                return Err(format!("{what} did not come for {PATIENCE:?}").into());
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    fn look(&mut self) -> Result<Content> {
        let content = Content::of(self.folder)?;
        self.room = self.room.max(content.room);
        let longest = content.snapshots.iter().map(|(_, bytes)| *bytes).max();
        self.snapshot = self.snapshot.max(longest.unwrap_or_default());
        Ok(content)
    }
}

/// Segments of 16 MiB that are there when at least 64 MiB are behind the snapshot.
const SEGMENTS: usize = 6;
const POLL: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(120);
