//! The way to one shard: bounded, and without a wait. A shard that is behind gets several rounds in
//! one; if it is far behind it gets the state without the steps that led to it.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::select_all;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{Delivery, Step};

/// The way to a shard, and what waits for room there.
pub(super) struct Outlet {
    to: mpsc::Sender<Delivery>,
    /// Several deliveries made one.
    backlog: Option<Delivery>,
}

impl Outlet {
    pub(super) const fn new(to: mpsc::Sender<Delivery>) -> Self {
        Self { to, backlog: None }
    }

    /// Whether something waits for room.
    pub(super) const fn is_behind(&self) -> bool {
        self.backlog.is_some()
    }

    /// Delivers now, or as soon as there is room.
    pub(super) fn deliver(&mut self, delivery: Delivery) {
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
        if let Some(backlog) = &mut self.backlog
            && backlog.steps.iter().map(|steps| steps.len()).sum::<usize>() > BACKLOG
        {
            backlog.steps = vec![Arc::new([Step::Installed(backlog.users.revision())])];
        }
    }

    /// Delivers what waits, if there is room by now.
    pub(super) fn catch_up(&mut self) {
        if let Some(backlog) = self.backlog.take() {
            self.try_send(backlog);
        }
    }

    fn try_send(&mut self, delivery: Delivery) {
        // Where the shard has ended, so have its links.
        if let Err(TrySendError::Full(delivery)) = self.to.try_send(delivery) {
            self.backlog = Some(delivery);
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

/// Steps that wait for one shard, after which they become one.
const BACKLOG: usize = 65_536;

#[cfg(test)]
mod tests {
    use rollcall_replica::directory::Bounds;
    use rollcall_replica::{Directory, LinkId, Output};
    use rollcall_shared::id::Revision;

    use super::*;

    /// What is due after `revision`, which so many steps led to.
    fn delivery(revision: u64, steps: usize) -> Delivery {
        let users = Directory::new(Revision(revision), Bounds::default()).users().clone();
        let steps = vec![Step::Installed(Revision(0)); steps].into();
        let outputs = vec![Output::SessionEnded { link: LinkId(revision) }];
        Delivery { users, steps: vec![steps], outputs }
    }

    #[tokio::test]
    async fn what_finds_no_room_is_made_one_and_loses_nothing() {
        let (to, mut from) = mpsc::channel(1);
        let mut outlet = Outlet::new(to);
        for revision in 1..=3 {
            outlet.deliver(delivery(revision, 1));
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
    async fn a_shard_far_behind_gets_the_state_and_every_answer() {
        let (to, mut from) = mpsc::channel(1);
        let mut outlet = Outlet::new(to);
        for revision in 1..=5 {
            outlet.deliver(delivery(revision, BACKLOG / 3));
        }
        from.recv().await.unwrap();
        outlet.catch_up();
        let rest = from.recv().await.unwrap();
        assert_eq!(rest.outputs.len(), 4);
        assert!(matches!(&*rest.steps[0], [Step::Installed(Revision(5))]), "{:?}", rest.steps[0]);
    }

    #[tokio::test]
    async fn a_shard_that_has_ended_holds_up_nothing() {
        let (to, from) = mpsc::channel(1);
        let mut outlet = Outlet::new(to);
        drop(from);
        outlet.deliver(delivery(1, 1));
        assert!(!outlet.is_behind());
    }
}
