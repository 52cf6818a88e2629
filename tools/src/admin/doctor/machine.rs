//! What is wrong with the machine that this runs on, for a broker that were to run here, and with configuration files.

use super::{Finding, error, warning};
use runtime::probe::{IoPath, Refusal, probe};
use rustix::process::{Resource, getrlimit};
use std::path::Path;
use std::process::Command;

/// A broker with a thousand clients, and files beside them.
const FILES_MIN: u64 = 10_000;

pub(super) fn findings() -> Vec<Finding> {
    let mut findings = Vec::new();
    if let IoPath::Blocking(refusal) = probe()
        && refusal != Refusal::Configured
    {
        let text = refusal.to_string();
        let (cause, fix) = text
            .split_once("; fix: ")
            .unwrap_or((&text, "look at dmesg; brokers run on blocking threads meanwhile"));
        findings.push(warning(
            "this machine",
            format!("io_uring cannot be used: {cause}"),
            fix,
        ));
    }
    let files = getrlimit(Resource::Nofile).current;
    if let Some(limit) = files.filter(|limit| *limit < FILES_MIN) {
        let fix = "LimitNOFILE=655350 in the unit, or ulimit -n 655350";
        findings.push(warning(
            "this machine",
            format!("a process may open {limit} files and connections only"),
            fix,
        ));
    }
    findings
}

/// What `mqbroker --check` says of a configuration file: keys that are wrong, that change nothing, that do not go together.
pub(super) fn of_config(file: &Path) -> Vec<Finding> {
    let about = format!("configuration {}", file.display());
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.join("mqbroker")));
    let program = beside
        .filter(|path| path.is_file())
        .unwrap_or_else(|| "mqbroker".into());
    let checked = match Command::new(&program).arg("--check").arg("-c").arg(file).output() {
        Ok(checked) => checked,
        Err(failure) => {
            let cause = format!("it cannot be checked: {}: {failure}", program.display());
            return vec![warning(about, cause, "put mqbroker beside mqadmin, or into PATH")];
        }
    };
    let text = [checked.stdout, checked.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut findings: Vec<Finding> = lines.clone().filter_map(|line| finding_of(&about, line)).collect();
    if !checked.status.success() && findings.is_empty() {
        let cause = lines.collect::<Vec<_>>().join(" ");
        findings.push(error(about, cause, "see docs/config.md"));
    }
    findings
}

/// A line of `mqbroker --check`: how bad it is, and behind a colon what and perhaps how to mend it.
fn finding_of(about: &str, line: &str) -> Option<Finding> {
    let (word, text) = line.split_once(": ")?;
    let (cause, fix) = text
        .split_once("; fix: ")
        .unwrap_or((text, "take the line out; docs/config.md has all keys"));
    match word {
        "stop" => Some(error(about, cause, fix)),
        "warning" | "notice" => Some(warning(about, cause, fix)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn what_mqbroker_says_of_a_file_becomes_findings() {
        let of = |line| finding_of("f", line).map(|finding| (finding.severity, finding.cause, finding.fix));
        let expected = (
            Severity::Error,
            "listenPort=x is not a number".to_owned(),
            "write a number".to_owned(),
        );
        assert_eq!(
            of("stop: listenPort=x is not a number; fix: write a number"),
            Some(expected)
        );
        assert_eq!(
            of("notice: k has no effect: r").map(|finding| finding.1),
            Some("k has no effect: r".to_owned())
        );
        assert_eq!(of("a broker can start"), None);
    }
}
