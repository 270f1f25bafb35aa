//! The session against a model of a cluster of three servers, which stop, freeze, lose their quorum
//! and leave, over a network that drops, delays and repeats.
//!
//! The model answers as the contract says and judges on the way: every id is applied once, no
//! write is older than the window allows. At the end all heals and all must agree.

mod cluster;
mod network;
mod world;

use proptest::prelude::*;

use world::{Trouble, World};

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn everything_agrees_in_the_end(seed in any::<u64>()) {
        World::new(seed, Trouble::Everywhere).run();
    }

    /// As long as one server that serves can be reached, no call fails for want of an answer.
    #[test]
    fn one_good_server_is_enough(seed in any::<u64>()) {
        World::new(seed, Trouble::ElsewhereOnly).run();
    }
}
