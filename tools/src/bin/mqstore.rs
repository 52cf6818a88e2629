//! mqstore: dump and verify the files of a store.

use std::process::ExitCode;

fn main() -> ExitCode {
    tools::store::run(std::env::args_os())
}
