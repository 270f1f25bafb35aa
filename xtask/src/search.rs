//! The searches for faults of the replication protocol: simulated clusters from seeds, and models
//! explored whole. Their long forms are commands of their own, their short ones steps of
//! `cargo xtask test`.
//!
//! What is searched is the packages' own business.

use std::process::ExitCode;

use crate::process::{Result, Task};
use crate::workspace::Workspace;

/// The packages that search. Their tests are built with the profile `search`: fast, with all
/// assertions.
pub(crate) const PACKAGES: [&str; 2] = ["rollcall-simulation", "rollcall-checker"];

/// `cargo xtask simulate`: as many seeds as one likes.
pub(crate) fn simulate(workspace: &Workspace, args: &[&str]) -> Result<ExitCode> {
    simulation(args).status(&workspace.root)
}

/// `cargo xtask check`: the models with these names, or all.
pub(crate) fn check(workspace: &Workspace, names: &[&str]) -> Result<ExitCode> {
    models(names).status(&workspace.root)
}

/// Simulates clusters.
pub(crate) fn simulation(args: &[&str]) -> Task {
    Task::words("cargo run --locked --quiet --profile search")
        .args(["--package", "rollcall-simulation", "--bin", "simulate", "--"])
        .args(args.iter().copied())
}

/// Explores models.
pub(crate) fn models(names: &[&str]) -> Task {
    Task::words("cargo run --locked --quiet --profile search")
        .args(["--package", "rollcall-checker", "--bin", "check", "--"])
        .args(names.iter().copied())
}

/// Runs a test of a searching package.
pub(crate) fn test(package: &str, name: &str) -> Task {
    Task::words("cargo test --locked --profile search").args(["--package", package, "--test", name])
}

/// Runs the test that plants faults in a searching package.
pub(crate) fn teeth(package: &str) -> Task {
    test(package, "teeth").args(["--features", "faults", "--", "--nocapture"])
}
