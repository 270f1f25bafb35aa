//! The session against a model of the cluster, over a network that drops, delays and repeats.
//!
//! The model answers as the contract says and judges on the way: every id is applied once, no
//! write is older than the window allows. At the end the network heals and all must agree.

mod cluster;
mod world;

use proptest::prelude::*;

use world::World;

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn everything_agrees_in_the_end(seed in any::<u64>()) {
        World::new(seed).run();
    }
}
