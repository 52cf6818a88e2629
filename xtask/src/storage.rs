//! Starts the checks of the storage: crash states, bit flips, planted bugs.

use crate::run;

const BUILD: [&str; 6] = ["run", "--quiet", "--profile", "checks", "--package", "storage-checks"];

/// Runs one of them; its arguments are its own.
pub(crate) fn check(name: &str, arguments: &[String]) -> Result<(), String> {
    start(&[], name, arguments)
}

/// Runs the checks against an engine with planted bugs.
pub(crate) fn museum(arguments: &[String]) -> Result<(), String> {
    start(&["--features", "museum"], "museum", arguments)
}

fn start(features: &[&str], name: &str, arguments: &[String]) -> Result<(), String> {
    let mut line: Vec<&str> = BUILD.to_vec();
    line.extend(features);
    line.extend(["--", name]);
    line.extend(arguments.iter().map(String::as_str));
    run::check("cargo", &line)
}
