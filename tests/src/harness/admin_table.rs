//! The table of mqadmin's subcommands (`tests/mqadmin/commands.txt`), run with a program: the rows by which the published mqadmin is
//! judged, for ours.

use regex::{Captures, Regex};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

/// One row: what is run and what its output must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub name: String,
    runs: Vec<String>,
    wants: Vec<String>,
    denies: Vec<String>,
    sets: Vec<(String, String)>,
    tries: u32,
    /// Commands that go on for ever end after so long.
    limit_ms: Option<u64>,
    /// The exit code of the last command; 0 unless the row says otherwise.
    exit: i32,
}

/// The rows of a table. Lines that only one program is judged by begin with `ours` or `apache`.
pub fn read(text: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let line = match line.split_once(' ') {
            Some(("apache", _)) => continue,
            Some(("ours", rest)) => rest.trim(),
            _ => line,
        };
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim().to_owned();
        if word == "case" {
            rows.push(Row {
                name: rest,
                tries: 1,
                ..Row::default()
            });
            continue;
        }
        let row = rows
            .last_mut()
            .unwrap_or_else(|| panic!("a line before the first case: {line}"));
        match word {
            "run" => row.runs.push(rest),
            "want" => row.wants.push(rest),
            "deny" => row.denies.push(rest),
            "retry" => row.tries = rest.parse().unwrap_or_else(|e| panic!("{line}: {e}")),
            "for" => row.limit_ms = Some(rest.parse().unwrap_or_else(|e| panic!("{line}: {e}"))),
            "exit" => row.exit = rest.parse().unwrap_or_else(|e| panic!("{line}: {e}")),
            "set" => {
                let (name, pattern) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}: no pattern"));
                row.sets.push((name.to_owned(), pattern.trim().to_owned()));
            }
            _ => panic!("unknown line in the table: {line}"),
        }
    }
    rows
}

/// Values by name, for `${name}`.
pub type Values = BTreeMap<String, String>;

fn fill(text: &str, values: &Values) -> String {
    let names = Regex::new(r"\$\{(\w+)\}").expect("a pattern that is one");
    let value = |found: &Captures<'_>| {
        let name = &found[1];
        values
            .get(name)
            .cloned()
            .unwrap_or_else(|| panic!("the table names ${{{name}}}, which nothing sets"))
    };
    names.replace_all(text, value).into_owned()
}

fn pattern(text: &str, values: &Values) -> Regex {
    let filled = fill(text, values);
    Regex::new(&format!("(?m){filled}")).unwrap_or_else(|e| panic!("{filled}: {e}"))
}

/// Runs a row, again as often as it says; the reason if it fails to the end.
pub fn judge(row: &Row, program: &Path, directory: &Path, values: &mut Values) -> Result<(), String> {
    let mut reason = String::new();
    for attempt in 0..row.tries {
        if attempt > 0 {
            thread::sleep(Duration::from_millis(200));
        }
        match once(row, program, directory, values) {
            Ok(()) => return Ok(()),
            Err(found) => reason = found,
        }
    }
    Err(reason)
}

fn once(row: &Row, program: &Path, directory: &Path, values: &mut Values) -> Result<(), String> {
    let mut text = String::new();
    for (number, run) in row.runs.iter().enumerate() {
        let line = fill(run, values);
        let mut command = Command::new(program);
        command
            .args(line.split_whitespace())
            .current_dir(directory)
            .env_remove("NAMESRV_ADDR")
            .env("TZ", "UTC");
        let output = output(&mut command, row.limit_ms);
        text += &String::from_utf8_lossy(&output.stdout);
        text += &String::from_utf8_lossy(&output.stderr);
        let expected = if number + 1 == row.runs.len() { row.exit } else { 0 };
        if row.limit_ms.is_none() && output.status.code() != Some(expected) {
            return Err(format!("`{line}` ended with {}: {text}", output.status));
        }
    }
    if let Some(want) = row.wants.iter().find(|want| !pattern(want, values).is_match(&text)) {
        return Err(format!("no match of /{}/ in:\n{text}", pattern(want, values)));
    }
    if let Some(deny) = row.denies.iter().find(|deny| pattern(deny, values).is_match(&text)) {
        return Err(format!("a match of /{}/ in:\n{text}", pattern(deny, values)));
    }
    for (name, wanted) in &row.sets {
        let found = pattern(wanted, values).captures(&text).map(|found| found[1].to_owned());
        let found = found.ok_or_else(|| format!("no match of /{wanted}/ for {name} in:\n{text}"))?;
        values.insert(name.clone(), found);
    }
    Ok(())
}

/// What a command prints until it ends, or until its time is over.
fn output(command: &mut Command, limit_ms: Option<u64>) -> Output {
    let Some(limit_ms) = limit_ms else {
        return command
            .output()
            .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    };
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let end = Instant::now() + Duration::from_millis(limit_ms);
    while Instant::now() < end && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(Duration::from_millis(20));
    }
    // An error means that it has ended already, which is what is wanted.
    drop(child.kill());
    child
        .wait_with_output()
        .unwrap_or_else(|e| panic!("cannot read from {command:?}: {e}"))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn lines_of_the_other_program_are_left_out() {
        let rows = read("case A\nrun echo ${x}\nours want y\napache want z\nexit 1");
        let expected = Row {
            name: "A".to_owned(),
            runs: vec!["echo ${x}".to_owned()],
            wants: vec!["y".to_owned()],
            tries: 1,
            exit: 1,
            ..Row::default()
        };
        assert_eq!(rows, [expected]);
    }

    #[test]
    fn a_row_fails_on_a_wrong_exit_code_a_missing_and_a_forbidden_match() {
        let mut values = Values::from([("x".to_owned(), "hello".to_owned())]);
        let mut judged = |text: &str| judge(&read(text)[0], Path::new("echo"), Path::new("/"), &mut values);
        assert_eq!(judged("case A\nrun ${x}\nwant ^hello$\nset y (h.l)"), Ok(()));
        assert_eq!(judged("case A\nrun ${y}\nwant ^hel$"), Ok(()));
        assert!(judged("case A\nrun a\nwant b").is_err());
        assert!(judged("case A\nrun a\ndeny a").is_err());
        assert!(judged("case A\nrun a\nexit 1").is_err());
    }
}
