//! Tests of RingMQ as a whole: `harness` starts, breaks and stops real processes, `system/` holds the tests.
//!
//! Settings by environment, all optional:
//! - `RINGMQ_BIN_DIR`: where the programs are; else the folder of the profile that the tests were built with.
//! - `RINGMQ_TEST_NAMESRV=host:port`: the client tests use this cluster and start nothing (a control against another broker).
//! - `RINGMQ_TEST_APACHE_LIB=dir`: start Apache's servers from the jars in this folder instead of ours (the same control, kills included).
//! - `RINGMQ_TEST_KILLS=n`: how often the kill loops kill (5).
//! - `RINGMQ_TEST_SEED=n`: the seed of their waiting times, printed by each run.

pub mod harness;
