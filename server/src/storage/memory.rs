//! Storage that forgets: for `--in-memory`, and for tests.

use std::task::{Context, Poll};

use rollcall_replica::consensus::ids::Lsn;
use rollcall_replica::consensus::journal::Record;

use super::{Storage, StorageFailed};

/// Storage in memory: a record is as durable as it gets once it is there. All of it is lost with the
/// process.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    last: Lsn,
    said: Lsn,
}

impl Storage for Memory {
    fn store(&mut self, _: Record) {
        self.last = Lsn(self.last.0 + 1);
    }

    fn poll_stored(&mut self, _: &mut Context<'_>) -> Poll<Result<Lsn, StorageFailed>> {
        if self.said == self.last {
            // Only `store` changes that, and whoever calls it asks afterwards.
            return Poll::Pending;
        }
        self.said = self.last;
        Poll::Ready(Ok(self.last))
    }
}

#[cfg(test)]
impl Memory {
    /// Lets a replica do all that it can by itself; what it said to others.
    pub(crate) fn run(
        &mut self,
        replica: &mut rollcall_replica::Replica,
    ) -> Vec<rollcall_replica::Output> {
        use rollcall_replica::{Input, Output};
        let mut outputs = Vec::new();
        loop {
            while let Some(output) = replica.poll_output() {
                match output {
                    Output::Store(record) => self.store(record),
                    output => outputs.push(output),
                }
            }
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let Poll::Ready(Ok(through)) = self.poll_stored(&mut cx) else { return outputs };
            replica.handle(crate::clock::now(), Input::Stored { through });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use rollcall_replica::consensus::ids::Epoch;

    use super::*;

    #[test]
    fn memory_says_once_that_all_is_there() {
        let mut memory = Memory::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(memory.poll_stored(&mut cx), Poll::Pending);
        memory.store(Record::Voter);
        memory.store(Record::Promise(Epoch(1)));
        assert_eq!(memory.poll_stored(&mut cx), Poll::Ready(Ok(Lsn(2))));
        assert_eq!(memory.poll_stored(&mut cx), Poll::Pending);
    }
}
