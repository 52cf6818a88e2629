//! What a service manager (systemd, `Type=notify`) is told: that the program serves, that it stops.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The program serves; `status` is for people.
pub fn ready(status: &str) {
    tell(&format!("READY=1\nSTATUS={status}"));
}

/// The program has been asked to stop, and does.
pub fn stopping() {
    tell("STOPPING=1");
}

/// Nobody may have started this program, or somebody who does not listen: then there is nobody to tell.
fn tell(state: &str) {
    if crate::world::is_simulated() {
        return;
    }
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(?socket, %error, "the service manager could not be told: {state}");
    }
}

/// The socket is a path, or a name of the kernel's after `@`.
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(state.as_bytes(), &address)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_hears_it_by_path_and_by_name() {
        let path = std::env::temp_dir().join(format!("notify-{}", std::process::id()));
        let name = format!("ringmq-notify-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let at_name = format!("@{name}");
        for (socket, listener) in [(path.as_os_str(), by_path), (OsStr::new(&at_name), by_name)] {
            send(socket, "READY=1\nSTATUS=x").unwrap();
            let mut heard = [0; 64];
            let length = listener.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], b"READY=1\nSTATUS=x");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(send(path.as_os_str(), "READY=1").is_err());
    }
}
