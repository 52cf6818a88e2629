//! `mqbroker`: a broker until it is told to stop.

use broker::config::{BrokerConfig, Finding, Machine};
use broker::program::{self, START_FAILED, Task};
use broker::start::{self, complain, say};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match program::task(std::env::args_os(), &Machine::here()) {
        Task::End(ending) => {
            say(&ending.output);
            complain(&ending.errors);
            ExitCode::from(ending.code)
        }
        Task::Start(config, findings) => match serve(*config, &findings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                complain(&format!("mqbroker: {problem}\n"));
                ExitCode::from(START_FAILED)
            }
        },
    }
}

fn serve(config: BrokerConfig, findings: &[Finding]) -> Result<(), String> {
    start::log_to_standard_error();
    program::log(findings);
    let boot_line = program::boot_line(&config);
    start::prepare(config)?.run(move |broker| {
        let boot_line = boot_line.clone();
        async move {
            runtime::spawn(start::stop_on_signal(broker.clone()));
            broker.ready().await;
            say(&boot_line);
        }
    })
}
