//! `mqnamesrv`: a name server until it is told to stop.

use std::process::ExitCode;

fn main() -> ExitCode {
    namesrv::program::main(std::env::args_os())
}
