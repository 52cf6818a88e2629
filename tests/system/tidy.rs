//! The checkout keeps its own rules: each source file says what it holds, the map names what is there, nothing is left half done.

use std::fs;
use std::path::{Path, PathBuf};
use tests::harness::workspace;

/// Sources of ours: everything but build results and what git keeps.
fn sources(extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![workspace()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).expect("the checkout can be read").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                if !name.starts_with('.') && !name.starts_with("target") {
                    waiting.push(path);
                }
            } else if path
                .extension()
                .is_some_and(|e| extensions.iter().any(|wanted| e == *wanted))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

fn short(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap_or(path).display().to_string()
}

#[test]
fn every_rust_file_begins_by_saying_what_it_holds() {
    let files = sources(&["rs"]);
    assert!(files.len() > 20, "found only {} files", files.len());
    let silent: Vec<String> = files
        .iter()
        .filter(|path| {
            let text = read(path);
            let first = text.lines().next().unwrap_or("");
            first.strip_prefix("//! ").is_none_or(|said| said.trim().len() < 10)
        })
        .map(|path| short(path))
        .collect();
    assert!(
        silent.is_empty(),
        "these files do not begin with a line `//! what it holds`: {silent:#?}"
    );
}

#[test]
fn no_file_is_called_mod_rs() {
    let files: Vec<String> = sources(&["rs"])
        .iter()
        .filter(|path| path.file_name().is_some_and(|name| name == "mod.rs"))
        .map(|path| short(path))
        .collect();
    assert!(files.is_empty(), "name them after their module: {files:#?}");
}

#[test]
fn what_is_left_to_do_has_an_issue_number() {
    // Spelled in two parts, or this file would name them itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X ")];
    let mut found = Vec::new();
    for path in sources(&["rs", "java", "go", "py", "sh", "toml"]) {
        for (number, line) in read(&path).lines().enumerate() {
            for word in words {
                let numbered = line
                    .split(word)
                    .skip(1)
                    .all(|after| after.trim_start_matches('(').starts_with('#'));
                if line.contains(word) && !numbered {
                    found.push(format!("{}:{}: {}", short(&path), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(
        found.is_empty(),
        "do it, or write the issue's number behind it as (#12): {found:#?}"
    );
}

/// A name in backquotes or a flow line of ARCHITECTURE.md that looks like a path of the checkout, with a function or without.
fn references(map: &str) -> Vec<(String, Option<String>)> {
    let tops: Vec<String> = fs::read_dir(workspace())
        .expect("the checkout can be read")
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let separators = |c: char| c.is_whitespace() || matches!(c, '`' | '(' | ')' | ',' | ';' | '"' | '|' | '[' | ']');
    map.split(separators)
        .map(|word| word.trim_end_matches(['.', ':']))
        .filter(|word| {
            word.split_once('/')
                .is_some_and(|(top, _)| tops.iter().any(|t| t == top))
        })
        .filter(|word| !word.contains(['*', '{', '<', '$']) && !word.starts_with("target/"))
        .map(|word| match word.split_once("::") {
            Some((path, function)) => (path.to_owned(), Some(function.to_owned())),
            None => (word.to_owned(), None),
        })
        .collect()
}

/// Whether a file defines what a path such as `Store::open` or `append` ends with.
fn defines(text: &str, item: &str) -> bool {
    let name = item.rsplit("::").next().unwrap_or(item);
    [
        "fn ",
        "struct ",
        "enum ",
        "trait ",
        "const ",
        "static ",
        "type ",
        "mod ",
        "macro_rules! ",
    ]
    .iter()
    .any(|kind| {
        text.match_indices(&format!("{kind}{name}")).any(|(at, found)| {
            let after = text[at + found.len()..].chars().next();
            after.is_none_or(|c| !(c.is_alphanumeric() || c == '_'))
        })
    })
}

/// What a document names and is not there.
fn missing(document: &str) -> Vec<String> {
    let references = references(&read(&workspace().join(document)));
    assert!(
        references.len() >= 10,
        "{document} names only {} paths",
        references.len()
    );
    let mut wrong = Vec::new();
    for (file, item) in references {
        let full = workspace().join(&file);
        match item {
            _ if !full.exists() => wrong.push(format!("{file} is not there")),
            Some(item) if !defines(&read(&full), &item) => wrong.push(format!("{file} has no {item}")),
            _ => {}
        }
    }
    wrong
}

#[test]
fn the_map_names_paths_and_functions_that_are_there() {
    let wrong = missing("ARCHITECTURE.md");
    assert!(wrong.is_empty(), "ARCHITECTURE.md is out of date: {wrong:#?}");
}

#[test]
fn every_promise_names_a_check_that_is_there() {
    let wrong = missing("docs/durability.md");
    assert!(wrong.is_empty(), "docs/durability.md is out of date: {wrong:#?}");
    let text = read(&workspace().join("docs/durability.md"));
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let checks = ["tests/", "crash states", "bit flips", "simulator"];
    for row in &rows {
        let checked_by = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        assert!(
            checks.iter().any(|check| checked_by.contains(check)),
            "nothing checks this promise: {row}"
        );
    }
    assert!(rows.len() >= 8, "{} promises", rows.len());
}

#[test]
fn a_definition_is_told_from_a_longer_name() {
    assert!(defines("pub fn append(&self)", "append"));
    assert!(defines(
        "pub struct Store;\n impl Store { fn open() {} }",
        "Store::open"
    ));
    assert!(!defines("fn append_all()", "append"));
}
