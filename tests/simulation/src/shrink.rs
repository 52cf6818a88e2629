//! Makes a failing seed smaller: kinds of faults that it does not need are switched off, and it is made shorter.

use crate::arguments::Arguments;
use std::process::{Command, Stdio};

/// Prints the smallest options with which the seed still fails.
///
/// # Errors
/// When it does not fail.
pub(crate) fn shrink(arguments: &Arguments, seed: u64) -> Result<(), String> {
    let mut smallest = arguments.clone();
    if !fails(&smallest, seed)? {
        return Err(format!(
            "seed {seed} does not fail with these options, so it cannot be shrunk"
        ));
    }
    for kind in simulation::plan::kinds() {
        if smallest.off.contains(&kind) {
            continue;
        }
        let mut smaller = smallest.clone();
        smaller.off.push(kind);
        if fails(&smaller, seed)? {
            println!("{kind} is not needed");
            smallest = smaller;
        }
    }
    while smallest.length_percent > 5 {
        let mut shorter = smallest.clone();
        shorter.length_percent = smallest.length_percent * 3 / 4;
        if !fails(&shorter, seed)? {
            break;
        }
        smallest = shorter;
    }
    let needed: Vec<String> = simulation::plan::kinds()
        .iter()
        .filter(|kind| !smallest.off.contains(kind))
        .map(ToString::to_string)
        .collect();
    println!(
        "needed: {} at {} % of the length",
        needed.join(", "),
        smallest.length_percent
    );
    println!(
        "cargo xtask sim --from {seed} --seeds 1 {}",
        smallest.option_words().join(" ")
    );
    Ok(())
}

/// Plays the seed in a process of its own, since it may panic.
fn fails(arguments: &Arguments, seed: u64) -> Result<bool, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let status = Command::new(program)
        .args(["--worker", "1", "--seeds", "1", "--from", &seed.to_string()])
        .args(arguments.option_words())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("cannot play seed {seed}: {error}"))?;
    Ok(!status.success())
}
