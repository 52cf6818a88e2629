//! What a program may want to know of the machine before it starts: name, addresses, ports, directories.
//!
//! Each function changes nothing, and answers at once but for the one that waits for a port. They look at the real machine; a
//! simulated node, which has no preflight, only asks for memory and time zone, and gets the same answer on every machine.

use crate::world::is_simulated;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The host's name.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The address from which this machine would talk to the rest of the world: the one of its default route. `None` without one.
#[must_use]
pub fn default_address() -> Option<IpAddr> {
    // Connecting a datagram socket picks a route and sends nothing. The targets are reserved for documentation.
    let towards = |from: &str, to: &str| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    towards("0.0.0.0:0", "192.0.2.1:9")
        .or_else(|| towards("[::]:0", "[2001:db8::1]:9"))
        .filter(|address| !address.is_loopback() && !address.is_unspecified())
}

/// Whether an address is one of this machine's.
#[must_use]
pub fn is_own_address(address: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

/// Whether a port could be listened on.
///
/// # Errors
/// As bind(2): `AddrInUse` when somebody listens there, `PermissionDenied` when the port is reserved.
pub fn check_port(address: SocketAddr) -> io::Result<()> {
    // Without SO_REUSEPORT, so that another listener of the same user is found too.
    TcpListener::bind(address).map(drop)
}

/// How long a start waits for a port that is in use: the kernel may need some tenths of a second to take a killed process
/// apart, and whoever starts it again at once is not to be told to look for somebody else.
pub const PORT_PATIENCE: Duration = Duration::from_secs(2);

/// Tries `bind` until the port is free, or `patience` is over; any other outcome is given back at once.
///
/// # Errors
/// Those of `bind`.
pub async fn when_free<T>(patience: Duration, bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    const PAUSE: Duration = Duration::from_millis(20);
    let give_up = crate::Instant::now() + patience;
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && crate::Instant::now() < give_up => {
                crate::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// The addresses of a host.
///
/// # Errors
/// When the name is not known.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

/// The network interface by which an IPv4 address is directly reached, by the kernel's routing table: `eth0`, `docker0`.
#[must_use]
pub fn interface_of(address: IpAddr) -> Option<String> {
    let IpAddr::V4(address) = address else { return None };
    interface_in(&std::fs::read_to_string("/proc/net/route").ok()?, u32::from(address))
}

/// Columns of /proc/net/route: interface, destination, gateway, flags, three counts, mask; addresses are the memory of a
/// big-endian word, read as a word of this machine and printed in hexadecimal.
fn interface_in(routes: &str, address: u32) -> Option<String> {
    let route = |line: &str| {
        let mut fields = line.split_whitespace();
        let interface = fields.next()?.to_owned();
        let word = |field: Option<&str>| u32::from_str_radix(field?, 16).ok().map(u32::from_be);
        let destination = word(fields.next())?;
        let gateway = word(fields.next())?;
        let mask = word(fields.nth(4))?;
        (gateway == 0 && mask != 0 && address & mask == destination).then_some((mask, interface))
    };
    routes
        .lines()
        .skip(1)
        .filter_map(route)
        .max_by_key(|(mask, _)| *mask)
        .map(|(_mask, interface)| interface)
}

/// Whether this process runs in a container of Docker or Podman, as far as these tell.
#[must_use]
pub fn in_container() -> bool {
    Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists()
}

/// Bytes of memory that this process may use: the machine's, or fewer if its control group says so. `None` when neither tells.
#[must_use]
pub fn memory() -> Option<u64> {
    if is_simulated() {
        return None;
    }
    let number = |path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limits = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .into_iter()
    .filter_map(number);
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_memory(&text));
    limits.chain(machine).min()
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// How many files, sockets among them, this process may have open once it has called [`raise_open_files`].
#[must_use]
pub fn open_files_max() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum.unwrap_or(u64::MAX)
}

/// Lets this process have as many files open as it may: what shells and service managers give at first is for programs that
/// call select(2).
///
/// # Errors
/// As setrlimit(2).
pub fn raise_open_files() -> io::Result<()> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    Ok(rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?)
}

/// Lets the kernel give this process small pages only. Memory that is given back by halves stays resident in huge ones: a
/// broker that a peer had made keep large frames for a moment was 55 MB larger afterwards, and is 12 with small pages, at the same
/// throughput and CPU time a message (`tests/system/spray.rs`, `mqbench mixed --against`).
///
/// # Errors
/// As prctl(2).
pub fn use_small_pages() -> io::Result<()> {
    Ok(rustix::thread::disable_transparent_huge_pages(true)?)
}

/// When anything in a directory, or in one of its folders, was last changed, in milliseconds since 1970. `None` if it is not there.
#[must_use]
pub fn newest_change_ms(directory: &Path) -> Option<i64> {
    let changed = |path: &Path| {
        let modified = std::fs::metadata(path).ok()?.modified().ok()?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    };
    let inside = |path: &Path| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let outer = inside(directory);
    let inner = outer.iter().flat_map(|path| inside(path));
    outer
        .iter()
        .cloned()
        .chain(inner)
        .filter_map(|path| changed(&path))
        .max()
}

/// Local time minus UTC, in minutes, now.
#[must_use]
#[expect(unsafe_code, reason = "the standard library knows no time zones; libc does")]
pub fn utc_offset_minutes() -> i32 {
    if is_simulated() {
        return 0;
    }
    let now = libc::time_t::try_from(crate::wall_clock_ms() / 1000).unwrap_or(0);
    let mut local = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; `localtime_r` fills `local` or answers null and leaves it zeroed, and
    // zeroes are a valid `tm`: numbers, and a null name of the zone, which is not read.
    let local = unsafe {
        libc::localtime_r(&raw const now, local.as_mut_ptr());
        local.assume_init()
    };
    i32::try_from(local.tm_gmtoff / 60).unwrap_or(0)
}

/// Whether a directory could be used for files.
#[derive(Debug)]
pub enum DirectoryState {
    /// It is there, and files can be made in it.
    Usable,
    /// It is not there, but can be made: this is the nearest directory above it that is.
    Missing(PathBuf),
    /// Something on the way to it is no directory.
    NotADirectory(PathBuf),
    /// This directory, itself or the nearest above it, refuses new files.
    Refused(PathBuf, io::Error),
}

/// Looks at a directory that need not exist.
#[must_use]
pub fn directory_state(path: &Path) -> DirectoryState {
    let absolute = std::path::absolute(path).unwrap_or_else(|_no_working_directory| path.to_owned());
    for (above, place) in absolute.ancestors().enumerate() {
        let Ok(metadata) = std::fs::metadata(place) else {
            continue;
        };
        if !metadata.is_dir() {
            return DirectoryState::NotADirectory(place.to_owned());
        }
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        return match rustix::fs::access(place, access) {
            Err(error) => DirectoryState::Refused(place.to_owned(), error.into()),
            Ok(()) if above == 0 => DirectoryState::Usable,
            Ok(()) => DirectoryState::Missing(place.to_owned()),
        };
    }
    DirectoryState::Missing(PathBuf::from("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_that_of_the_narrowest_route_without_gateway() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                      eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                      eth0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n\
                      docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                      tun0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                      rubbish\n";
        let interface = |address: [u8; 4]| interface_in(routes, u32::from_be_bytes(address));
        assert_eq!(interface([172, 17, 0, 1]).as_deref(), Some("docker0"));
        assert_eq!(interface([10, 0, 2, 7]).as_deref(), Some("tun0"));
        assert_eq!(interface([10, 9, 9, 9]).as_deref(), Some("eth0"));
        assert_eq!(interface([8, 8, 8, 8]), None);
    }

    #[test]
    fn a_port_with_a_listener_is_found_in_use() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(check_port(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        check_port(address).unwrap();
    }

    #[test]
    fn a_port_that_becomes_free_is_waited_for_and_nothing_else() {
        let patience = Duration::from_secs(30);
        let outcomes = std::cell::RefCell::new(vec![io::ErrorKind::PermissionDenied, io::ErrorKind::AddrInUse]);
        let bind = || outcomes.borrow_mut().pop().map_or(Ok(()), |kind| Err(kind.into()));
        let wait = |patience| {
            let io = crate::probe::IoPath::Blocking(crate::probe::Refusal::Configured);
            crate::core::run_here(&io, when_free(patience, bind)).unwrap()
        };
        assert_eq!(wait(patience).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        outcomes.borrow_mut().extend([io::ErrorKind::AddrInUse; 3]);
        wait(patience).unwrap();
        outcomes.borrow_mut().push(io::ErrorKind::AddrInUse);
        assert_eq!(wait(Duration::ZERO).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn loopback_is_own_and_a_documentation_address_is_not() {
        assert!(is_own_address("127.0.0.1".parse().unwrap()));
        assert!(!is_own_address("192.0.2.77".parse().unwrap()));
    }

    #[test]
    fn the_newest_change_is_found_one_folder_down() {
        let folder = std::env::temp_dir().join(format!("machine-newest-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("inner")).unwrap();
        assert!(newest_change_ms(&folder.join("nothing")).is_none());
        let file = std::fs::File::create(folder.join("inner/file")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(5_000_000_000))
            .unwrap();
        assert_eq!(newest_change_ms(&folder), Some(5_000_000_000_000));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(
            total_memory("MemFree: 1 kB\nMemTotal:       24000 kB\n"),
            Some(24_576_000)
        );
        assert_eq!(total_memory("MemTotal: many kB\n"), None);
        assert!(memory().is_some_and(|bytes| bytes > 1 << 24));
    }

    #[test]
    fn the_offset_from_utc_is_that_of_a_time_zone() {
        assert!((-12 * 60..=14 * 60).contains(&utc_offset_minutes()));
    }

    #[test]
    fn directories_are_told_apart() {
        let folder = std::env::temp_dir().join(format!("machine-test-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("file"), "").unwrap();
        assert!(matches!(directory_state(&folder), DirectoryState::Usable));
        assert!(matches!(directory_state(&folder.join("a/b")), DirectoryState::Missing(at) if at == folder));
        let file = folder.join("file");
        assert!(matches!(directory_state(&file.join("x")), DirectoryState::NotADirectory(at) if at == file));
        assert!(matches!(
            directory_state(Path::new("/proc/nothing")),
            DirectoryState::Refused(..) | DirectoryState::Missing(_)
        ));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
