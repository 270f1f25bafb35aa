//! `cargo xtask test`: every check and test of the project as a list of steps, cheap ones first;
//! the first that fails ends the run.
//!
//! What a step does in detail is its tool's or its module's.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::process::{Result, Task};
use crate::workspace::Workspace;
use crate::{npm, smoke, tools, web};

/// Runs the steps whose name contains `filter`, and those they need.
pub(crate) fn run(workspace: &Workspace, filter: &str) -> Result<ExitCode> {
    let steps = selected(plan(workspace), filter)?;
    let total = steps.len();
    let mut report = Report::default();
    for (index, step) in steps.iter().enumerate() {
        if report.failed > 0 {
            report.add(&step.name, "not run", None);
            continue;
        }
        eprintln!("\n== [{}/{total}] {}", index + 1, step.name);
        let start = Instant::now();
        let result = step.action.run(workspace);
        let time = start.elapsed();
        match result {
            Ok(()) => report.add(&step.name, "ok", Some(time)),
            Err(error) => {
                eprintln!("\n== {} failed: {error}", step.name);
                report.add(&step.name, "FAILED", Some(time));
            }
        }
    }
    let mut out = io::stdout().lock();
    write!(out, "\n{}{} passed, {} failed\n", report.table, report.passed, report.failed)?;
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One check, test or preparation.
struct Step {
    name: String,
    /// Names of steps without which this one cannot run or would test something stale.
    needs: Vec<&'static str>,
    action: Action,
}

enum Action {
    Run(Task),
    Call(fn(&Workspace) -> Result),
}

impl Action {
    fn run(&self, workspace: &Workspace) -> Result {
        match self {
            Self::Run(task) => task.run(&workspace.root),
            Self::Call(function) => function(workspace),
        }
    }
}

/// All steps in their order.
///
/// Builds and tests name all packages but xtask at once, so that cargo settles on one set of
/// features and compiles each dependency once; xtask keeps the set `cargo xtask` built it with.
fn plan(workspace: &Workspace) -> Vec<Step> {
    let task = |name: &str, needs: &[&'static str], line: &str| Step {
        name: name.to_owned(),
        needs: needs.to_vec(),
        action: Action::Run(Task::words(line)),
    };
    let call = |name: &str, needs: &[&'static str], function| Step {
        name: name.to_owned(),
        needs: needs.to_vec(),
        action: Action::Call(function),
    };
    let mut steps = vec![
        call("wasm target", &[], tools::wasm_target),
        call("chromium", &[], tools::chromium),
        task("fmt", &[], "cargo fmt --all --check"),
        task("clippy", &[], "cargo clippy --locked --workspace --all-targets -- -D warnings"),
        task(
            "clippy wasm",
            &["wasm target"],
            "cargo clippy --locked --target wasm32-unknown-unknown \
             --package rollcall-shared --package rollcall-client-wasm -- -D warnings",
        ),
        task("docs", &[], "cargo doc --locked --workspace --no-deps")
            .with_env("RUSTDOCFLAGS", "-D warnings"),
        call("cargo-deny", &[], tools::cargo_deny),
        call("licences", &["cargo-deny"], tools::check_dependencies),
        task("xtask", &[], "cargo test --locked --package xtask"),
        call("web", &["wasm target"], web::run),
        call("npm", &["wasm target"], npm::run),
        task(
            "build",
            &["web"],
            "cargo build --locked --workspace --exclude xtask --lib --bins --examples --tests",
        ),
    ];
    let units = "cargo test --locked --workspace --exclude xtask --lib --bins --examples";
    let docs = "cargo test --locked --workspace --exclude xtask --doc";
    steps.push(task("units", &["build"], units).with_binary(workspace));
    steps.push(task("doc tests", &["build"], docs).with_binary(workspace));
    let (late, early): (Vec<_>, Vec<_>) = workspace.tests.iter().partition(|name| in_browser(name));
    steps.extend(early.into_iter().map(|name| integration(workspace, name, &["build"])));
    steps.push(call("dev smoke", &["web"], smoke::run));
    let needs = ["build", "chromium"];
    steps.extend(late.into_iter().map(|name| integration(workspace, name, &needs)));
    steps
}

/// Tests that drive a browser carry it in their name.
fn in_browser(name: &str) -> bool {
    name.contains("browser") || name.contains("end_to_end")
}

fn integration(workspace: &Workspace, name: &str, needs: &[&'static str]) -> Step {
    let line = "cargo test --locked --workspace --exclude xtask --test";
    let step = Step {
        name: format!("test {name}"),
        needs: needs.to_vec(),
        action: Action::Run(Task::words(line).arg(name)),
    };
    step.with_binary(workspace)
}

impl Step {
    fn with_env(mut self, name: &'static str, value: &str) -> Self {
        if let Action::Run(task) = self.action {
            self.action = Action::Run(task.env(name, value));
        }
        self
    }

    /// Tells tests where the server's binary is.
    fn with_binary(self, workspace: &Workspace) -> Self {
        let binary = workspace.binary("debug");
        self.with_env("ROLLCALL_BIN", &binary.display().to_string())
    }
}

/// The steps whose name contains `filter` and what these need, in their order.
fn selected(steps: Vec<Step>, filter: &str) -> Result<Vec<Step>> {
    let mut kept: Vec<bool> = steps.iter().map(|step| step.name.contains(filter)).collect();
    if !kept.contains(&true) {
        let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
        return Err(
            format!("no step's name contains {filter:?}; there are: {}", names.join(", ")).into()
        );
    }
    // A step needs only steps before it, so one pass from the end finds all.
    for index in (0..steps.len()).rev() {
        if !kept[index] {
            continue;
        }
        for (earlier, step) in steps[..index].iter().enumerate() {
            kept[earlier] |= steps[index].needs.contains(&step.name.as_str());
        }
    }
    let mut kept = kept.into_iter();
    Ok(steps.into_iter().filter(|_| kept.next() == Some(true)).collect())
}

/// What the run prints at its end.
#[derive(Default)]
struct Report {
    table: String,
    passed: usize,
    failed: usize,
}

impl Report {
    fn add(&mut self, name: &str, outcome: &str, time: Option<Duration>) {
        match outcome {
            "ok" => self.passed += 1,
            "FAILED" => self.failed += 1,
            _ => {}
        }
        let time = time.map_or_else(String::new, |time| format!("{:.1} s", time.as_secs_f64()));
        writeln!(self.table, "{outcome:<8}{name:<24}{time:>10}")
            .expect("writing to a String does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        Workspace {
            root: "root".into(),
            target: "target".into(),
            tests: ["browser", "tidy", "wire"].map(str::to_owned).to_vec(),
        }
    }

    fn names(filter: &str) -> Vec<String> {
        let steps = selected(plan(&workspace()), filter).expect("filter fits");
        steps.into_iter().map(|step| step.name).collect()
    }

    #[test]
    fn every_need_is_a_step_before_the_one_that_has_it() {
        let steps = plan(&workspace());
        for (index, step) in steps.iter().enumerate() {
            for need in &step.needs {
                let found = steps[..index].iter().any(|earlier| earlier.name == *need);
                assert!(found, "{} needs {need}, which does not come before it", step.name);
            }
        }
    }

    #[test]
    fn a_filter_brings_what_its_steps_need() {
        assert_eq!(names("wire"), ["wasm target", "web", "build", "test wire"]);
        assert_eq!(names("fmt"), ["fmt"]);
        assert_eq!(names("browser"), ["wasm target", "chromium", "web", "build", "test browser"]);
        assert_eq!(names("").len(), plan(&workspace()).len());
        assert!(selected(plan(&workspace()), "no such step").is_err());
    }

    #[test]
    fn browser_tests_come_last_and_know_the_binary() {
        let steps = plan(&workspace());
        let last = steps.last().expect("there are steps");
        assert_eq!(last.name, "test browser");
        let Action::Run(task) = &last.action else { panic!("a test is a command") };
        assert!(task.to_string().contains("ROLLCALL_BIN="), "{task}");
        assert!(task.to_string().contains("/debug/rollcall"), "{task}");
    }

    #[test]
    fn the_report_counts_steps() {
        let mut report = Report::default();
        report.add("fmt", "ok", Some(Duration::from_millis(1250)));
        report.add("clippy", "FAILED", Some(Duration::from_secs(60)));
        report.add("docs", "not run", None);
        assert_eq!((report.passed, report.failed), (1, 1));
        assert_eq!(report.table.lines().count(), 3);
        assert!(report.table.contains("ok      fmt"), "{}", report.table);
    }
}
