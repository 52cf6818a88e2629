//! Units and a compose file for production hosts, and what a service manager hears.

use crate::{Process, RINGMQ, path, run, text};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

const SERVICES: [&str; 5] = ["namesrv-1", "broker-a", "broker-b", "broker-a-s", "broker-b-s"];

fn up(data: &str, option: &str, directory: &str) -> String {
    let arguments = [
        "up",
        "2m2s",
        "--data",
        data,
        "--namesrv-port",
        "25576",
        "--port",
        "25511",
        option,
        directory,
    ];
    let output = run(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[test]
fn units_are_written_for_every_service_and_systemd_finds_nothing_wrong_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let (data, units) = (path(&folder, "da ta"), path(&folder, "units"));
    let said = up(&data, "--systemd", &units);
    assert!(
        said.contains("systemctl enable --now ringmq-namesrv-1.service"),
        "{said}"
    );
    let mut files = Vec::new();
    for name in SERVICES {
        let file = format!("{units}/ringmq-{name}.service");
        let unit = std::fs::read_to_string(&file).unwrap();
        for line in [
            "Type=notify",
            "Restart=always",
            "RestartPreventExitStatus=1 253",
            "LimitNOFILE=655350",
        ] {
            assert!(unit.lines().any(|found| found == line), "{unit}");
        }
        assert_eq!(
            unit.contains("ringmq-namesrv-1.service"),
            name.starts_with("broker"),
            "{unit}"
        );
        assert!(std::fs::exists(format!("{data}/{name}")).unwrap());
        files.push(file);
    }
    match Command::new("systemd-analyze").arg("verify").args(&files).output() {
        Ok(output) => {
            let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
            // What it says of units that are not ours is not ours to mend.
            let ours: Vec<&str> = said.lines().filter(|line| line.contains("ringmq-")).collect();
            assert_eq!(ours, Vec::<&str>::new(), "{}", output.status);
        }
        Err(error) => println!("skipped: systemd-analyze: {error}"),
    }
}

#[test]
fn a_compose_file_comes_with_a_profile_that_allows_io_uring() {
    let folder = tempfile::tempdir().unwrap();
    let (data, directory) = (path(&folder, "data"), path(&folder, "compose"));
    up(&data, "--compose", &directory);
    let compose = std::fs::read_to_string(format!("{directory}/compose.yaml")).unwrap();
    for name in SERVICES {
        assert!(compose.contains(&format!("\n  {name}:\n")), "{compose}");
    }
    assert_eq!(compose.matches(&format!("seccomp={directory}/seccomp.json")).count(), 5);
    assert_eq!(compose.matches("depends_on: [namesrv-1]").count(), 4);
    let profile = std::fs::read(format!("{directory}/seccomp.json")).unwrap();
    let profile: serde_json::Value = serde_json::from_slice(&profile).unwrap();
    let allowed = profile["syscalls"][0]["names"].as_array().unwrap();
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register", "fdatasync"] {
        assert!(allowed.iter().any(|name| name == call), "{call}");
    }
    for call in ["ptrace", "mount", "bpf", "unshare", "init_module", "keyctl"] {
        assert!(allowed.iter().all(|name| name != call), "{call}");
    }
}

#[test]
fn a_service_manager_hears_when_a_service_serves_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, conf) = (path(&folder, "notify"), path(&folder, "namesrv.conf"));
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let hear = || {
        let mut buffer = [0; 512];
        let length = manager.recv(&mut buffer).unwrap();
        text(&buffer[..length]).to_owned()
    };
    std::fs::write(&conf, "listenPort=25596\nbindAddress=127.0.0.1\n").unwrap();
    let root = path(&folder, "store");
    let broker = path(&folder, "broker.conf");
    let lines = format!(
        "brokerIP1=127.0.0.1\nbindAddress=127.0.0.1\nlistenPort=25581\nmappedFileSizeCommitLog=16777216\nstorePathRootDir={root}\n"
    );
    std::fs::write(&broker, lines).unwrap();
    for (kind, file) in [("namesrv", &conf), ("broker", &broker)] {
        let mut command = Command::new(RINGMQ);
        command
            .args(["serve", kind, "-c", file])
            .env("NOTIFY_SOCKET", &socket)
            .env("HOME", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process = Process(command.spawn().unwrap());
        let ready = hear();
        assert!(ready.starts_with("READY=1\nSTATUS="), "{kind}: {ready}");
        let ended = process.signal_and_wait("-TERM");
        assert_eq!((ended, hear().as_str()), (Some(0), "STOPPING=1"), "{kind}");
    }
}
