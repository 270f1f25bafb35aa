//! The clock of the state machines: monotonic, and counting the time the machine was suspended
//! (R20 of docs/replication.md; `std::time::Instant` does not count it on Linux).

use std::time::{SystemTime, UNIX_EPOCH};

use rollcall_shared::time::Instant;

/// Now, on `CLOCK_BOOTTIME`.
pub(crate) fn now() -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_nsec / 1000).unwrap_or(0);
    Instant::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}

/// Milliseconds since 1970, as the system's clock has it.
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
