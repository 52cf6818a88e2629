//! Files that commands read and write.

use super::error::Error;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::Path;

/// A JSON array from a file; `what` says what it must be an array of.
pub(super) fn read_list<T: DeserializeOwned>(path: &Path, what: &str) -> Result<Vec<T>, Error> {
    let name = path.display();
    let bytes = fs::read(path).map_err(|error| {
        Error::other(
            format!("cannot read {name}: {error}"),
            "give a file that is there by -f",
        )
    })?;
    let list: Vec<T> = serde_json::from_slice(&bytes).map_err(|error| {
        Error::other(
            format!("{name} is no JSON array: {error}"),
            format!("write an array of {what}"),
        )
    })?;
    if list.is_empty() {
        return Err(Error::other(
            format!("{name} lists nothing"),
            format!("write an array of {what}"),
        ));
    }
    Ok(list)
}

/// Writes a file, with the directories that lead to it.
pub(super) fn write(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, contents)).map_err(|error| {
        Error::other(
            format!("cannot write {}: {error}", path.display()),
            "give a place that may be written by -f",
        )
    })
}
