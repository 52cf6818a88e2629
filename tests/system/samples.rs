//! RocketMQ's sample files as they are: those of masters and slaves run, those of what is not built stop with one line.

use std::time::Duration;
use tests::harness::Process;
use tests::samples::{refused, runnable};
use tests::servers_on_hosts::{Rehearsal, name_servers};

const LIMIT: Duration = Duration::from_secs(30);

fn stop(process: Process) {
    let (status, lines) = process.stop(LIMIT);
    assert!(status.success(), "it ended with {status}:\n{}", lines.join("\n"));
}

#[test]
fn every_sample_of_masters_and_slaves_runs_unchanged() {
    // They name neither port nor path, so master and slave are on hosts of their own.
    let servers = match Rehearsal::new(2) {
        Ok(servers) => servers,
        Err(why) => return println!("skipped: {why}"),
    };
    let _name_server = servers.name_server(1);
    let mut files = 0;
    for (master, slave) in runnable() {
        for host in [1, 2] {
            // A store of its own for each.
            drop(std::fs::remove_dir_all(servers.home(host).join("store")));
        }
        let file = servers.write(1, &master.name, &master.text);
        let running = servers.broker(1, &file, &name_servers(&[1]));
        files += 1;
        if let Some(slave) = slave {
            let file = servers.write(2, &slave.name, &slave.text);
            stop(servers.broker(2, &file, &name_servers(&[1])));
            files += 1;
        }
        stop(running);
        println!("{}/{} runs", master.folder, master.name);
    }
    assert_eq!(files, 12);
}

#[test]
fn samples_of_what_is_not_built_stop_with_one_line_that_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (sample, key) in refused() {
        let file = folder.path().join(&sample.name);
        std::fs::write(&file, &sample.text).expect("a file can be written");
        let mut command = std::process::Command::new(tests::harness::binary("mqbroker"));
        let output = command.arg("-c").arg(&file).output().expect("mqbroker can be run");
        let errors = String::from_utf8_lossy(&output.stderr);
        let shown = format!("{}/{}: {errors}", sample.folder, sample.name);
        assert_eq!(output.status.code(), Some(253), "{shown}");
        assert_eq!(errors.lines().count(), 1, "{shown}");
        assert!(
            errors.contains(&format!("{key}=")) && errors.contains("remove the line"),
            "{shown}"
        );
    }
}
