//! Runs the tests and counts them over all packages.

use crate::leftovers::Leftovers;
use crate::{requirements, run, simulation, storage};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Runs every test, or with `quick` those that need only Rust, and prints the sum as the last line.
pub(crate) fn run(quick: bool) -> Result<(), String> {
    let mut counts = Counts::default();
    let leftovers = Leftovers::since_now();
    let outcome = run_all(quick, &mut counts);
    leftovers.remove();
    if let Err(problem) = &outcome {
        println!("{problem}");
    }
    println!(
        "{} passed, {} failed, {} skipped",
        counts.passed, counts.failed, counts.skipped
    );
    outcome
}

fn run_all(quick: bool, counts: &mut Counts) -> Result<(), String> {
    let mut units = vec!["test", "--workspace", "--no-fail-fast", "--exclude", "tests"];
    if quick {
        units.extend(["--", "--quiet"]);
        return cargo(&units, counts);
    }
    requirements::clients()?;
    let first = cargo(&units, counts);
    // The system tests start the real programs, as users build them. The tests themselves are the dev profile's: what they
    // need of the workspace is built already.
    run::check("cargo", &["build", "--release", "--workspace", "--bins"])?;
    let second = cargo(&["test", "--no-fail-fast", "--package", "tests"], counts);
    // About a minute together; the whole of them is a chore of its own.
    let states = storage::check("crash-states", &["--states".to_owned(), "6000".to_owned()]);
    let flips = storage::check("bit-flips", &["--flips".to_owned(), "2000".to_owned()]);
    first.and(second).and(simulation::test()).and(states).and(flips)
}

fn cargo(arguments: &[&str], counts: &mut Counts) -> Result<(), String> {
    println!("+ cargo {}", arguments.join(" "));
    let mut child = Command::new("cargo")
        .args(arguments)
        .current_dir(run::workspace())
        // Where the system tests look for the programs.
        .env("RINGMQ_BIN_DIR", run::target().join("release"))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            println!("{line}");
            counts.add(&line);
        }
    }
    let status = child
        .wait()
        .map_err(|error| format!("cannot wait for cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("cargo {} ended with {status}", arguments.join(" ")))
    }
}

impl Counts {
    /// Adds a closing line of Rust's test runner: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else {
            return;
        };
        let Some((_verdict, rest)) = rest.split_once(". ") else {
            return;
        };
        for part in rest.split(';') {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod unit {
    use super::Counts;

    #[test]
    fn closing_lines_of_the_test_runner_are_added_up() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        counts.add("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        counts.add("test broker::tests::passed ... ok");
        assert_eq!(
            counts,
            Counts {
                passed: 5,
                failed: 1,
                skipped: 1
            }
        );
    }
}
