//! mqadmin: questions to a cluster and changes to it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tools::admin::run(std::env::args_os())
}
