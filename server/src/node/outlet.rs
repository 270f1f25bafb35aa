//! The way to one shard: bounded, and without a wait where the shard is only a little behind.

use futures::FutureExt as _;
use futures::future::select_all;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::Delivery;

/// The way to a shard, and what waits for room there.
pub(super) struct Outlet {
    to: mpsc::Sender<Delivery>,
    /// Several deliveries made one.
    backlog: Option<Delivery>,
    /// Steps and outputs in it.
    size: usize,
}

impl Outlet {
    pub(super) const fn new(to: mpsc::Sender<Delivery>) -> Self {
        Self { to, backlog: None, size: 0 }
    }

    /// Whether something waits for room.
    pub(super) const fn is_behind(&self) -> bool {
        self.backlog.is_some()
    }

    /// Delivers now, or as soon as there is room. Only where very much waits already it waits itself.
    pub(super) async fn deliver(&mut self, delivery: Delivery) {
        self.size += delivery.outputs.len();
        self.size += delivery.steps.iter().map(|steps| steps.len()).sum::<usize>();
        let merged = match self.backlog.take() {
            None => delivery,
            Some(mut backlog) => {
                backlog.users = delivery.users;
                backlog.steps.extend(delivery.steps);
                backlog.outputs.extend(delivery.outputs);
                backlog
            }
        };
        self.try_send(merged);
        if self.size > BACKLOG
            && let Some(backlog) = self.backlog.take()
        {
            self.size = 0;
            // An error means that the shard has ended, and its links with it.
            let _ = self.to.send(backlog).await;
        }
    }

    /// Delivers what waits, if there is room by now.
    pub(super) fn catch_up(&mut self) {
        if let Some(backlog) = self.backlog.take() {
            self.try_send(backlog);
        }
    }

    fn try_send(&mut self, delivery: Delivery) {
        match self.to.try_send(delivery) {
            Err(TrySendError::Full(delivery)) => self.backlog = Some(delivery),
            Ok(()) | Err(TrySendError::Closed(_)) => self.size = 0,
        }
    }
}

/// Waits until one of the shards that are behind has room, or has ended.
pub(super) async fn room(outlets: &[Outlet]) {
    let behind = outlets.iter().filter(|outlet| outlet.is_behind());
    let waits: Vec<_> = behind.map(|outlet| outlet.to.reserve().map(drop).boxed_local()).collect();
    if !waits.is_empty() {
        select_all(waits).await;
    }
}

/// Steps and outputs that wait for one shard, after which the node waits for it.
const BACKLOG: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rollcall_replica::directory::Bounds;
    use rollcall_replica::{Directory, LinkId, Output};
    use rollcall_shared::id::Revision;

    use super::super::Step;
    use super::*;

    fn delivery(link: u64) -> Delivery {
        let users = Directory::new(Revision(link), Bounds::default()).users().clone();
        let steps: Vec<Arc<[Step]>> = vec![Arc::new([Step::Installed(Revision(link))])];
        Delivery { users, steps, outputs: vec![Output::SessionEnded { link: LinkId(link) }] }
    }

    #[tokio::test]
    async fn what_finds_no_room_is_made_one_and_loses_nothing() {
        let (to, mut from) = mpsc::channel(1);
        let mut outlet = Outlet::new(to);
        for link in 1..=3 {
            outlet.deliver(delivery(link)).await;
        }
        assert!(outlet.is_behind());
        assert_eq!(from.recv().await.unwrap().outputs.len(), 1);
        room(std::slice::from_ref(&outlet)).await;
        outlet.catch_up();
        assert!(!outlet.is_behind());
        let rest = from.recv().await.unwrap();
        assert_eq!((rest.outputs.len(), rest.steps.len()), (2, 2));
        assert_eq!(rest.users.revision(), Revision(3));
    }

    #[tokio::test]
    async fn a_shard_that_has_ended_holds_up_nothing() {
        let (to, from) = mpsc::channel(1);
        let mut outlet = Outlet::new(to);
        drop(from);
        outlet.deliver(delivery(1)).await;
        assert!(!outlet.is_behind());
    }
}
