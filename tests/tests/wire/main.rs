//! The contract over real sockets, as far as one server goes: every request, reply, push, error and close code.
//!
//! Each module is a topic; each test starts a server of its own. The tests know the contract only,
//! nothing of the server's code. What several servers do together is tested elsewhere, and so is
//! the command line.

mod arguments;
mod bad_frames;
mod bad_input;
mod batching;
mod bursts;
mod envelope;
mod expiry;
mod history;
mod http;
mod large;
mod limits;
mod lookup;
mod metrics;
mod ownership;
mod pushes;
mod retries;
mod sequence;
mod sessions;
mod shutdown;
mod slow_reader;
mod subscriptions;
mod tokens;
mod upgrade;
