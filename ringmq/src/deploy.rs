//! What a production host needs to run the services of a cluster: systemd units, or a compose file with its seccomp profile.
//!
//! The configuration files are those of `up`, written once and checked; units and compose file are made anew each time.
//! Nothing is started and nothing is fetched.

use crate::Failure;
use crate::cluster;
use crate::layout::{Kind, Layout, Place, Planned};
use broker::start::say;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes a unit for each service.
///
/// # Errors
/// What would keep a service from starting, and files that cannot be written.
pub(crate) fn systemd(layout: Layout, place: &Place, directory: &Path) -> Result<(), Failure> {
    let services = cluster::prepare(layout, place)?;
    let program = program()?;
    let mut names = Vec::new();
    for service in &services {
        let name = format!("ringmq-{}.service", service.name);
        write(directory, &name, &unit(service, &services, &program))?;
        names.push(name);
    }
    say(&format!(
        "{} units are in {}. Next:\n  systemctl link {}/*.service\n  systemctl enable --now {}\n",
        names.len(),
        directory.display(),
        directory.display(),
        names.join(" ")
    ));
    Ok(())
}

/// Writes a compose file and its seccomp profile.
///
/// # Errors
/// As [`systemd`].
pub(crate) fn compose(layout: Layout, place: &Place, directory: &Path) -> Result<(), Failure> {
    let services = cluster::prepare(layout, place)?;
    write(directory, "seccomp.json", include_str!("deploy/seccomp.json"))?;
    let directory = directory.canonicalize().unwrap_or_else(|_error| directory.to_owned());
    let around = Around {
        program: program()?,
        seccomp: directory.join("seccomp.json"),
        user: rustix::process::geteuid().as_raw(),
        group: rustix::process::getegid().as_raw(),
    };
    write(&directory, "compose.yaml", &compose_file(&services, &around))?;
    let directory = directory.display();
    say(&format!(
        "compose.yaml and seccomp.json are in {directory}. Next:\n  docker compose -f {directory}/compose.yaml up -d\n"
    ));
    Ok(())
}

/// What all containers have of this host.
struct Around {
    program: PathBuf,
    /// An absolute path: not every version looks beside the compose file.
    seccomp: PathBuf,
    /// Whose the data is. Without capabilities the container's root could not write into it.
    user: u32,
    group: u32,
}

fn program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("this program does not know where it is: {error}"))
}

fn write(directory: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = directory.join(name);
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&path, text))
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

fn subcommand(kind: Kind) -> &'static str {
    if kind.is_broker() { "broker" } else { "namesrv" }
}

fn description(service: &Planned) -> String {
    let kind = match service.kind {
        Kind::NameServer => "name server",
        Kind::Master => "master",
        Kind::Slave => "slave",
    };
    format!("RingMQ {kind} {}", service.name)
}

/// The name servers, which brokers are started after.
fn before(service: &Planned, services: &[Planned]) -> Vec<String> {
    let names = services.iter().filter(|other| other.kind == Kind::NameServer);
    match service.kind {
        Kind::NameServer => Vec::new(),
        Kind::Master | Kind::Slave => names.map(|other| other.name.clone()).collect(),
    }
}

fn unit(service: &Planned, services: &[Planned], program: &Path) -> String {
    let folder = service.folder.display();
    let mut after = "network-online.target".to_owned();
    for name in before(service, services) {
        // Writing to a string does not fail.
        let _written = write!(after, " ringmq-{name}.service");
    }
    format!(
        "[Unit]\n\
         Description={}\n\
         Wants=network-online.target\n\
         After={after}\n\
         \n\
         [Service]\n\
         Type=notify\n\
         ExecStart={} serve {} -c {}\n\
         WorkingDirectory={folder}\n\
         Restart=always\n\
         RestartSec=1\n\
         # A configuration with which it cannot start is not mended by another start.\n\
         RestartPreventExitStatus=1 253\n\
         # A slave waits for its master, and a large store for its disk.\n\
         TimeoutStartSec=infinity\n\
         TimeoutStopSec=60\n\
         LimitNOFILE=655350\n\
         LimitMEMLOCK=infinity\n\
         LimitCORE=infinity\n\
         OOMScoreAdjust=-500\n\
         NoNewPrivileges=yes\n\
         PrivateTmp=yes\n\
         ProtectSystem=strict\n\
         ReadWritePaths={}\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        description(service),
        quoted(program),
        subcommand(service.kind),
        quoted(&service.configuration_file()),
        quoted(&service.folder),
    )
}

/// A path as a word of a unit's command line.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%");
    if text.contains([' ', '\t', '"', '\\', '$', ';']) {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$");
        return format!("\"{escaped}\"");
    }
    text
}

fn compose_file(services: &[Planned], around: &Around) -> String {
    let mut text = "# Written by `ringmq up --compose`. The image needs no more than a C library: the program comes from this host.\nservices:\n".to_owned();
    for service in services {
        let (folder, file) = (yaml(&service.folder), yaml(&service.configuration_file()));
        let _written = write!(
            text,
            "  {}:\n    image: debian:stable-slim\n    # Clients are told addresses of this host, so there is no bridge between.\n    network_mode: host\n\
             \x20   command: [/usr/local/bin/ringmq, serve, {}, -c, {file}]\n    volumes:\n\
             \x20     - {{type: bind, source: {}, target: /usr/local/bin/ringmq, read_only: true}}\n\
             \x20     - {{type: bind, source: {folder}, target: {folder}}}\n    read_only: true\n    user: \"{}:{}\"\n    cap_drop: [ALL]\n\
             \x20   security_opt: [{}, \"no-new-privileges:true\"]\n\
             \x20   ulimits: {{nofile: {{soft: 655350, hard: 655350}}, memlock: -1}}\n\
             \x20   restart: unless-stopped\n    stop_grace_period: 60s\n",
            service.name,
            subcommand(service.kind),
            yaml(&around.program),
            around.user,
            around.group,
            yaml(Path::new(&format!("seccomp={}", around.seccomp.display()))),
        );
        let before = before(service, services);
        if !before.is_empty() {
            let _written = writeln!(text, "    depends_on: [{}]", before.join(", "));
        }
    }
    text
}

/// A path as a string of a compose file: JSON's strings are YAML's, and a dollar sign would begin a variable.
fn yaml(path: &Path) -> String {
    serde_json::Value::from(path.display().to_string().replace('$', "$$")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_runs_as_the_owner_of_its_data_under_the_profile_beside_the_file() {
        let around = Around {
            program: PathBuf::from("/opt/ringmq"),
            seccomp: PathBuf::from("/srv/c d/seccomp.json"),
            user: 1000,
            group: 100,
        };
        let service = Planned {
            name: "namesrv-1".to_owned(),
            kind: Kind::NameServer,
            folder: PathBuf::from("/srv/data"),
            configuration: String::new(),
        };
        let text = compose_file(&[service], &around);
        assert!(text.contains("\n    user: \"1000:100\"\n"), "{text}");
        assert!(
            text.contains("security_opt: [\"seccomp=/srv/c d/seccomp.json\", "),
            "{text}"
        );
    }

    #[test]
    fn a_path_with_blanks_stays_one_word() {
        assert_eq!(quoted(Path::new("/a/b")), "/a/b");
        assert_eq!(quoted(Path::new("/a b/100%")), "\"/a b/100%%\"");
        assert_eq!(quoted(Path::new("/a\"$b")), "\"/a\\\"$$b\"");
        assert_eq!(yaml(Path::new("/a \"$b")), "\"/a \\\"$$b\"");
    }
}
