//! The short models, explored whole, and what the exploring rests on: that states which count as
//! equal go on equally.

// What was found, and after how much, is for a person to read.
#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use rollcall_checker::{Action, Bounds, Cluster, State, bounds, script, walk};
use stateright::{Checker, Model};

#[test]
fn every_run_of_the_short_models_is_safe() {
    let short = bounds::ALL.into_iter().filter(|bounds| bounds.short);
    assert!(short.clone().count() >= 8, "all sizes of clusters are among them");
    for bounds in short {
        let checker = Cluster::new(bounds).checker().threads(2).spawn_dfs().join();
        println!("{}: {} states", bounds.name, checker.unique_state_count());
        checker.assert_properties();
    }
}

/// What is too large to be explored in a test is walked through.
#[test]
fn random_walks_through_the_large_models_are_safe() {
    for bounds in bounds::ALL.into_iter().filter(|bounds| !bounds.short) {
        let model = Cluster::new(bounds);
        let first = model.init_states().remove(0);
        for number in 0..1_500 {
            let found = walk::walk(&model, &first, number, 120);
            assert_eq!(found, None, "{}, walk {number}", bounds.name);
        }
    }
}

#[test]
fn the_promise_of_a_replaced_server_elects_nobody() {
    let model = Cluster::new(script::bounds_of_a_replaced_server());
    assert_eq!(script::promise_of_a_replaced_server(&model).violation(), None);
}

fn digest(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// What can happen next, and where it leads.
fn next(model: &Cluster, state: &State) -> BTreeMap<String, Option<u64>> {
    let mut actions = Vec::new();
    model.actions(state, &mut actions);
    let after = |action: Action| model.next_state(state, action).map(|next| digest(&next));
    actions.into_iter().map(|action| (format!("{action:?}"), after(action))).collect()
}

/// The digest leaves much out. If anything of that mattered, two states with one digest would go on
/// differently, and the exploring would miss one of the two.
#[test]
fn states_with_equal_digests_go_on_equally() {
    for name in ["pair-crash", "pair-disk", "three-two-breaks", "three-two-disks", "four-rivals"] {
        let model = Cluster::new(Bounds::named(name).expect("is a model"));
        let mut random = 0x9e37_79b9_u64;
        let mut seen: HashMap<u64, (usize, State)> = HashMap::new();
        let mut compared = 0;
        for walk in 0..WALKS {
            let mut state = model.init_states().remove(0);
            for _ in 0..STEPS {
                let mut actions = Vec::new();
                model.actions(&state, &mut actions);
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let Some(&action) = actions.get((random >> 33) as usize % actions.len().max(1))
                else {
                    break;
                };
                let Some(after) = model.next_state(&state, action) else { continue };
                state = after;
                match seen.get(&digest(&state)) {
                    Some((other, twin)) if *other != walk => {
                        compared += 1;
                        assert_eq!(next(&model, twin), next(&model, &state), "{name}: {state:?}");
                    }
                    Some(_) => {}
                    None => {
                        seen.insert(digest(&state), (walk, state.clone()));
                    }
                }
            }
        }
        assert!(compared > 1_000, "{name}: only {compared} pairs met");
    }
}

const WALKS: usize = 1_500;
const STEPS: usize = 50;
