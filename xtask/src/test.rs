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
use crate::{npm, packaged, runtimes, search, smoke, suite, tools, types, web};

/// Runs the steps whose name contains `filter`, and those they need.
pub(crate) fn run(workspace: &Workspace, filter: &str) -> Result<ExitCode> {
    let steps = selected(plan(workspace), filter)?;
    if let Some(free) = tools::free_megabytes(&workspace.target).filter(|free| *free < ROOM_MB) {
        eprintln!(
            "note: {free} MB are free where {} is; all steps from nothing take {ROOM_MB} MB",
            workspace.target.display()
        );
    }
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
            Ok(()) => {
                eprintln!("== {}: ok in {:.1} s", step.name, time.as_secs_f64());
                report.add(&step.name, "ok", Some(time));
            }
            Err(error) => {
                let room = tools::free_megabytes(&workspace.target)
                    .map_or_else(String::new, |free| format!("\n   free on the disk: {free} MB"));
                report.add(&step.name, "FAILED", Some(time));
                report.why = format!(
                    "\n== {name} failed: {error}\n   once more: cargo xtask test '{name}'{room}\n",
                    name = step.name
                );
            }
        }
    }
    let mut out = io::stdout().lock();
    let Report { table, why, passed, failed } = &report;
    write!(out, "\n{table}{why}{passed} passed, {failed} failed\n")?;
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// About what all steps leave in the target folder, in megabytes.
const ROOM_MB: u64 = 8000;

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
    /// The integration test of that name.
    Test(String),
}

impl Action {
    fn run(&self, workspace: &Workspace) -> Result {
        match self {
            Self::Run(task) => task.run(&workspace.root),
            Self::Call(function) => function(workspace),
            Self::Test(name) => suite::run(workspace, name),
        }
    }
}

/// All steps in their order.
fn plan(workspace: &Workspace) -> Vec<Step> {
    let binary = workspace.binary("debug").display().to_string();
    let everything = suite::EVERYTHING;
    let units = "cargo test --locked --workspace --exclude xtask --lib --bins --examples";
    let examples = "cargo test --locked --workspace --exclude xtask --doc";
    let mut steps = vec![
        call("wasm target", &[], tools::wasm_target),
        call("chromium", &[], tools::chromium),
        call("node", &[], tools::node),
        call("typescript", &["node"], tools::typescript),
        call("runtimes", &["node"], runtimes::install),
        call("strace", &[], tools::strace),
        task("fmt", &[], Task::words("cargo fmt --all --check")),
        task(
            "clippy",
            &[],
            Task::words("cargo clippy --locked --workspace --all-targets -- -D warnings"),
        ),
        task(
            "clippy wasm",
            &["wasm target"],
            Task::words(
                "cargo clippy --locked --target wasm32-unknown-unknown \
                 --package rollcall-shared --package rollcall-client-wasm -- -D warnings",
            ),
        ),
        task(
            "clippy faults",
            &[],
            Task::words(
                "cargo clippy --locked --package rollcall-simulation --package rollcall-checker \
                 --features rollcall-simulation/faults,rollcall-checker/faults \
                 --all-targets -- -D warnings",
            ),
        ),
        task(
            "docs",
            &[],
            Task::words("cargo doc --locked --workspace --no-deps")
                .env("RUSTDOCFLAGS", "-D warnings"),
        ),
        call("cargo-deny", &[], tools::cargo_deny),
        call("licences", &["cargo-deny"], tools::check_dependencies),
        task("xtask", &[], Task::words("cargo test --locked --package xtask")),
        call("web", &["wasm target"], web::run),
        call("npm", &["wasm target"], npm::run),
        call("types", &["typescript", "npm"], types::run),
        call("packaged", &["runtimes", "npm"], packaged::run),
        task("build", &["web"], Task::words(&format!("cargo build {everything}"))),
        task("units", &["build"], Task::words(units).env("ROLLCALL_BIN", &binary)),
        task("doc tests", &["build"], Task::words(examples).env("ROLLCALL_BIN", &binary)),
    ];
    steps.extend([
        // Twice each, so that equal seeds are seen to give equal runs.
        task("simulation", &[], search::simulation(&["--seeds", "4000", "--twice"])),
        task("checker", &[], search::test("rollcall-checker", "exhaustive")),
        task("checker of three", &[], search::models(&["three-two-breaks"])),
        task("teeth of simulation", &[], search::teeth("rollcall-simulation")),
        task("teeth of checker", &[], search::teeth("rollcall-checker")),
    ]);
    let (late, early): (Vec<_>, Vec<_>) = workspace.tests.iter().partition(|name| in_browser(name));
    steps.extend(early.into_iter().map(|name| integration(name)));
    steps.push(call("dev smoke", &["web"], smoke::run));
    steps.extend(late.into_iter().map(|name| integration(name)));
    steps
}

fn task(name: &str, needs: &[&'static str], task: Task) -> Step {
    Step { name: name.to_owned(), needs: needs.to_vec(), action: Action::Run(task) }
}

fn call(name: &str, needs: &[&'static str], function: fn(&Workspace) -> Result) -> Step {
    Step { name: name.to_owned(), needs: needs.to_vec(), action: Action::Call(function) }
}

fn integration(name: &str) -> Step {
    let needs: &[&'static str] = match name {
        "end_to_end" => &["build", "chromium", "packaged"],
        "npm" => &["build", "packaged"],
        name if in_browser(name) => &["build", "chromium"],
        name if suite::needs_root(name) => &["build", "strace"],
        _ => &["build"],
    };
    let action = Action::Test(name.to_owned());
    Step { name: format!("test {name}"), needs: needs.to_vec(), action }
}

/// Tests that drive a browser carry it in their name.
fn in_browser(name: &str) -> bool {
    name.contains("browser") || name.contains("end_to_end")
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
    /// What went wrong. It comes last, where nobody can miss it.
    why: String,
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
            tests: ["browser", "durability", "tidy", "wire"].map(str::to_owned).to_vec(),
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
        assert_eq!(names("dura"), ["wasm target", "strace", "web", "build", "test durability"]);
        assert_eq!(names("browser"), ["wasm target", "chromium", "web", "build", "test browser"]);
        assert_eq!(names("").len(), plan(&workspace()).len());
        assert!(selected(plan(&workspace()), "no such step").is_err());
    }

    #[test]
    fn browser_tests_come_last() {
        let steps = plan(&workspace());
        let last = steps.last().expect("there are steps");
        assert_eq!(last.name, "test browser");
        assert!(matches!(&last.action, Action::Test(name) if name == "browser"));
    }

    #[test]
    fn unit_tests_know_the_binary() {
        let steps = plan(&workspace());
        let units = steps.iter().find(|step| step.name == "units").expect("is a step");
        let Action::Run(task) = &units.action else { panic!("units are run by cargo") };
        assert!(task.to_string().starts_with("ROLLCALL_BIN=target/debug/rollcall cargo"), "{task}");
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
