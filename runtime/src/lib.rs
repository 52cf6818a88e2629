//! One event loop a core, and the only way to disk, network, clock and randomness.
//!
//! Everything that decides about data is written against the concrete types of this crate. Each of them is an enum inside:
//! the real world (tokio for sockets and timers, io_uring or a small thread pool for files) or the simulated world of
//! [`sim`], where many nodes run in one thread under virtual time from one seed. Which world a call reaches is decided by
//! the thread's current context ([`world`]), so no type parameter for it is plumbed through the other crates.

pub mod clock;
pub mod collections;
pub mod core;
pub mod crash_memory;
mod direct_file;
pub mod file;
mod flusher;
pub mod machine;
pub mod mailbox;
pub mod mark;
pub mod probe;
mod real_file;
mod ring;
pub mod rng;
pub mod service_manager;
pub mod signal;
pub mod sim;
pub mod socket;
pub mod sync;
pub mod task;
pub mod timer;
mod world;

pub use clock::{Instant, wall_clock_ms};
pub use crash_memory::CrashMemory;
pub use direct_file::{BLOCK_SIZE, DirectFile, DirectRefusal, direct_refusal};
pub use file::{File, OpenOptions};
pub use socket::{Detached, TcpListener, TcpStream};
pub use task::{JoinHandle, spawn, yield_now};
pub use timer::{sleep, sleep_until, timeout};
