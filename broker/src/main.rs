//! `mqbroker`: a broker until it is told to stop.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    broker::start::main(std::env::args_os())
}
