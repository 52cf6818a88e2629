//! The programs as an operator meets them: what they print, how they stop, what they refuse.

use std::process::Command;
use std::time::Duration;
use tests::harness::{FlushMode, PortBlock, Process, Separate, Up, binary};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn up_is_ready_stops_on_sigterm_and_starts_again_on_its_data() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let ports = PortBlock::free();
    for start in ["first", "second"] {
        let up = Up::start(data.path(), ports);
        assert!(up.ready.starts_with("ready"), "{}", up.ready);
        let (status, lines) = up.process.stop(LIMIT);
        assert!(
            status.success(),
            "{start} run ended with {status}:\n{}",
            lines.join("\n")
        );
    }
}

#[test]
fn up_refuses_data_that_another_process_holds() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let first = Up::start(data.path(), PortBlock::free());
    let second = Process::start("ringmq up", &mut Up::command(data.path(), PortBlock::free()));
    let (status, lines) = second.finish(LIMIT);
    assert!(!status.success(), "the second one ended with {status}");
    let text = lines.join("\n");
    assert!(
        text.contains(&data.path().display().to_string()),
        "names the folder:\n{text}"
    );
    drop(first);
}

#[test]
fn up_refuses_a_port_that_is_taken() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let ports = PortBlock::free();
    let taken = std::net::TcpListener::bind(("127.0.0.1", ports.broker)).expect("the port is free");
    let (status, lines) = Process::start("ringmq up", &mut Up::command(data.path(), ports)).finish(LIMIT);
    assert!(!status.success(), "ended with {status}");
    let text = lines.join("\n");
    assert!(text.contains(&ports.broker.to_string()), "names the port:\n{text}");
    drop(taken);
}

#[test]
fn namesrv_and_broker_print_boot_success_and_end_on_sigterm() {
    let mut servers = Separate::start(FlushMode::Async);
    assert!(servers.stop_broker(), "the broker ends cleanly");
    servers.start_broker();
}

#[test]
fn broker_prints_its_configuration_and_ends() {
    let servers = Separate::start(FlushMode::Sync);
    for option in ["-p", "-m"] {
        let mut command = Command::new(binary("mqbroker"));
        command.arg("-c").arg(servers.conf_file()).arg(option);
        let (status, lines) = Process::start("mqbroker", &mut command).finish(LIMIT);
        assert!(status.success(), "{option}: {status}");
        let text = lines.join("\n");
        assert!(
            text.contains(&format!("listenPort={}", servers.ports.broker)),
            "{option}:\n{text}"
        );
        assert!(text.contains("flushDiskType=SYNC_FLUSH"), "{option}:\n{text}");
    }
}
