//! Tests of RingMQ as a whole: `harness` starts and stops real processes, `disks` breaks what they stand on, `load` sends and
//! checks; `system/` holds the tests, `faults/` what needs root and minutes.
//!
//! Settings by environment, all optional:
//! - `RINGMQ_BIN_DIR`: where the programs are; else the folder of the profile that the tests were built with.
//! - `RINGMQ_TEST_NAMESRV=host:port`: the client tests use this cluster and start nothing (a control against another broker).
//! - `RINGMQ_TEST_APACHE_LIB=dir`: start Apache's servers from the jars in this folder instead of ours (the same control, kills included).
//! - `RINGMQ_TEST_ECHO=1`: shows what the processes print, as it comes.
//! - `RINGMQ_TEST_KILLS=n`: how often the kill loops kill (5).
//! - `RINGMQ_TEST_PORTS=n`: the first port of this run (22200); 700 ports from it on are used.
//! - `RINGMQ_TEST_SEED=n`: the seed of their waiting times, printed by each run.

#![expect(clippy::print_stderr, reason = "a test that cannot clean up says so")]

pub mod disks;
pub mod harness;
pub mod hosts;
pub mod load;
pub mod preflight;
pub mod samples;
pub mod servers_on_hosts;
