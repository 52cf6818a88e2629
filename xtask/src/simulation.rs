//! The simulation, built for speed and run: `tests/simulation` says what it does.

use crate::run;

/// What a run of all tests plays: two minutes at most, and never fewer checks than this.
const TEST: [&str; 4] = ["--seeds", "1000", "--minutes", "2"];
/// Seeds that are played twice, to see that a seed repeats.
const TWICE: [&str; 3] = ["--seeds", "20", "--twice"];

/// Builds `simulate` and gives it these arguments.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    build()?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    simulate(&arguments)
}

/// What belongs to a run of all tests.
pub(crate) fn test() -> Result<(), String> {
    build()?;
    simulate(&TEST)?;
    simulate(&TWICE)?;
    // Disks that lie must be found out, or nothing that goes wrong would be.
    match simulate(&["--seeds", "200", "--canary"]) {
        Err(_found_out) => Ok(()),
        Ok(()) => Err("the canary seeds did not fail, so a seed that fails would not be seen".to_owned()),
    }
}

fn build() -> Result<(), String> {
    run::check("cargo", &["build", "--release", "--package", "simulation", "--bins"])
}

fn simulate(arguments: &[&str]) -> Result<(), String> {
    let mut words = vec!["run", "--quiet", "--release", "--package", "simulation", "--"];
    words.extend(arguments);
    run::check("cargo", &words)
}
