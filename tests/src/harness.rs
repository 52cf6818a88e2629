//! Everything that system tests need to run real processes: where they are, ports, the processes, and the clients of other languages.
//!
//! A harness function that cannot go on panics with the reason: it only ever runs inside a test.

mod admin_table;
mod apache;
mod clients;
mod java_load;
mod places;
mod ports;
mod process;
mod servers;
mod waits;

pub use admin_table::{Row, Values, judge, read as admin_rows};
pub use apache::{apache_jars, apache_server};
pub use clients::{Client, Report, build_maven};
pub use java_load::{JavaLoad, assert_nothing_lost};
pub use places::{binary, clients_dir, workspace};
pub use ports::PortBlock;
pub use process::{Process, figure, resident_bytes};
pub use servers::{Cluster, FlushMode, Separate, Setup, Up, boot, write};
pub use waits::{Waits, seed, setting};
