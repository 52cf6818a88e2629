//! Which I/O path this process may use, and if io_uring is refused, why and how to mend it.

use std::fmt;
use std::io;

/// The I/O path of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IoPath {
    /// io_uring.
    Ring,
    /// A small pool of blocking threads, and why.
    Blocking(Refusal),
}

/// Why io_uring cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The configuration asks for the pool.
    Configured,
    /// The kernel has no io_uring, or one older than 5.11.
    KernelTooOld(String),
    /// kernel.io_uring_disabled has this value.
    Sysctl(String),
    /// A seccomp profile (Docker's default one does) or another security module answers EPERM or EACCES.
    Seccomp,
    /// The ring's memory does not fit into RLIMIT_MEMLOCK, in bytes.
    Memlock(u64),
    /// Something else.
    Other(String),
}

impl fmt::Display for IoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IoPath::Ring => f.write_str("I/O path: io_uring"),
            IoPath::Blocking(refusal) => write!(f, "I/O path: blocking threads, because {refusal}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Configured => f.write_str("the configuration asks for them"),
            Refusal::KernelTooOld(release) => {
                write!(
                    f,
                    "kernel {release} has no usable io_uring; fix: run kernel 5.11 or later (5.15 or later advised)"
                )
            }
            Refusal::Sysctl(value) => {
                write!(
                    f,
                    "kernel.io_uring_disabled is {value}; fix: sysctl -w kernel.io_uring_disabled=0"
                )
            }
            Refusal::Seccomp => f.write_str(
                "a seccomp profile or security module refuses io_uring_setup (Docker's default profile does); \
                 fix: allow io_uring_setup, io_uring_enter and io_uring_register in the profile",
            ),
            Refusal::Memlock(limit) => write!(
                f,
                "RLIMIT_MEMLOCK of {limit} bytes is too small for a ring; fix: LimitMEMLOCK=infinity in the unit, or ulimit -l"
            ),
            Refusal::Other(error) => write!(f, "io_uring_setup failed: {error}"),
        }
    }
}

/// Tries to make a ring like the ones the cores will use.
#[must_use]
pub fn probe() -> IoPath {
    if crate::world::is_simulated() {
        return IoPath::Ring;
    }
    match crate::ring::build() {
        Ok(_ring) => IoPath::Ring,
        Err(error) => {
            let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
            IoPath::Blocking(explain(&error, disabled.trim()))
        }
    }
}

/// Why the ring was refused with `error`, where kernel.io_uring_disabled reads `disabled` (empty: the kernel has no such
/// setting).
fn explain(error: &io::Error, disabled: &str) -> Refusal {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) if !matches!(disabled, "" | "0") => Refusal::Sysctl(disabled.to_owned()),
        Some(Errno::PERM | Errno::ACCESS) => Refusal::Seccomp,
        Some(Errno::NOSYS | Errno::INVAL) => {
            Refusal::KernelTooOld(rustix::system::uname().release().to_string_lossy().into_owned())
        }
        Some(Errno::NOMEM) => {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
            Refusal::Memlock(limit.unwrap_or(u64::MAX))
        }
        _ => Refusal::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    fn explained(errno: Errno, disabled: &str) -> Refusal {
        explain(&io::Error::from_raw_os_error(errno.raw_os_error()), disabled)
    }

    #[test]
    fn a_denial_is_the_sysctls_if_that_is_set_and_a_security_modules_otherwise() {
        for denial in [Errno::PERM, Errno::ACCESS] {
            assert_eq!(explained(denial, "2"), Refusal::Sysctl("2".to_owned()));
            assert_eq!(explained(denial, "1"), Refusal::Sysctl("1".to_owned()));
            assert_eq!(explained(denial, "0"), Refusal::Seccomp);
            assert_eq!(explained(denial, ""), Refusal::Seccomp);
        }
    }

    #[test]
    fn an_unknown_call_or_flag_is_an_old_kernel_and_names_its_release() {
        for errno in [Errno::NOSYS, Errno::INVAL] {
            let Refusal::KernelTooOld(release) = explained(errno, "") else {
                panic!("{errno} is not taken for an old kernel");
            };
            assert!(release.starts_with(|first: char| first.is_ascii_digit()), "{release}");
        }
    }

    #[test]
    fn no_memory_is_the_limit_of_locked_memory() {
        assert!(matches!(explained(Errno::NOMEM, "0"), Refusal::Memlock(_)));
    }

    #[test]
    fn anything_else_is_told_as_the_kernel_told_it() {
        let refusal = explained(Errno::NFILE, "0");
        assert!(refusal.to_string().contains("Too many open files"), "{refusal}");
    }

    #[test]
    fn every_refusal_that_can_be_mended_says_how() {
        for refusal in [
            Refusal::KernelTooOld("4.18.0".to_owned()),
            Refusal::Sysctl("2".to_owned()),
            Refusal::Seccomp,
            Refusal::Memlock(65_536),
        ] {
            let line = IoPath::Blocking(refusal).to_string();
            assert!(line.contains("fix: "), "{line}");
        }
    }
}
