//! Shared memory that brokers of the tests leave behind: who is killed and not started again cannot remove it.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A start that names what has been made since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leftovers(SystemTime);

impl Leftovers {
    pub(crate) fn since_now() -> Leftovers {
        // The kernel's times are whole seconds.
        Leftovers(SystemTime::now() - Duration::from_secs(1))
    }

    /// Removes the memory that was made since by this user's processes in the way of brokers, and that nobody has attached.
    pub(crate) fn remove(self) {
        let Ok(segments) = std::fs::read_to_string("/proc/sysvipc/shm") else {
            return;
        };
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let ids: Vec<&str> = segments.lines().filter_map(|line| left_since(line, since)).collect();
        for id in &ids {
            // Another run may have been quicker.
            let _gone = Command::new("ipcrm").args(["-m", id]).status();
        }
        if !ids.is_empty() {
            println!(
                "removed {} pieces of shared memory of brokers that the tests killed",
                ids.len()
            );
        }
    }
}

/// The number of a segment, if it was made at `since` (seconds since 1970) or later, without a key, for one user, and nobody has
/// it attached.
fn left_since(line: &str, since: u64) -> Option<&str> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [key, id, mode, _size, _creator, _last, attached, ..] = fields[..] else {
        return None;
    };
    let made: u64 = fields.get(13)?.parse().ok()?;
    (key == "0" && mode == "600" && attached == "0" && made >= since).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_and_nobodys_goes() {
        let line = |key, mode, attached, made| {
            format!("{key:>10} 7 {mode} 65536 11 12 {attached} 0 0 0 0 1764368000 1764368001 {made} 4096 0")
        };
        assert_eq!(left_since(&line(0, 600, 0, 1_764_368_000), 1_764_368_000), Some("7"));
        for other in [
            line(9, 600, 0, 1_764_368_000),
            line(0, 666, 0, 1_764_368_000),
            line(0, 600, 1, 1_764_368_000),
            line(0, 600, 0, 1_764_367_999),
            "       key      shmid perms".to_owned(),
        ] {
            assert_eq!(left_since(&other, 1_764_368_000), None, "{other}");
        }
    }
}
