//! CPU time of processes, from /proc.

use std::time::Duration;

/// Clock ticks a second in /proc: fixed by Linux' interface to programs.
const TICKS_A_SECOND: u64 = 100;

/// User and system time that these processes have used so far; `None` if one of them cannot be read.
#[must_use]
pub fn time_of(pids: &[u32]) -> Option<Duration> {
    pids.iter().map(|&pid| time_of_one(pid)).sum()
}

fn time_of_one(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    ticks(&stat).map(|ticks| Duration::from_millis(ticks * 1000 / TICKS_A_SECOND))
}

/// utime + stime: fields 14 and 15, counted from the name, which may hold blanks and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_name, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 31 11 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn our_own_time_can_be_read_and_a_missing_process_says_so() {
        assert!(time_of(&[std::process::id()]).is_some());
        assert_eq!(time_of(&[u32::MAX]), None);
    }
}
