//! What this machine can do at best, measured in a few seconds: its disk and its loopback. Figures of a run are told in
//! percent of it.

use crate::error::Error;
use crate::measure::number;
use crate::options::Format;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long each part lasts.
const SPAN: Duration = Duration::from_secs(1);
/// Bytes of a large write, and of a chunk over loopback.
const CHUNK: usize = 1024 * 1024;
/// Bytes that are written at most, so that a fast disk is not filled.
const WRITE_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes of a small write that is synced.
const PAGE: usize = 4096;
/// Bytes of a ping.
const PING: usize = 1024;

/// The machine's ceilings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ceilings {
    /// Sequential writing, synced at the end: megabytes a second.
    pub disk_write_mb_per_second: f64,
    /// Writes of 4 KiB, each synced, by one thread: a second.
    pub disk_syncs_per_second: f64,
    /// One stream over loopback: megabytes a second.
    pub loopback_mb_per_second: f64,
    /// Round trips of 1 KiB over one connection of loopback: a second.
    pub loopback_round_trips_per_second: f64,
}

impl Ceilings {
    /// For people or programs.
    #[must_use]
    pub fn text(&self, format: Format) -> String {
        if format == Format::Json {
            return serde_json::to_string_pretty(self).expect("figures are always JSON") + "\n";
        }
        format!(
            "{:<28}{:.0} MB/s\n{:<28}{:.0} a second\n{:<28}{:.0} MB/s\n{:<28}{:.0} a second\n",
            "disk, sequential writing",
            self.disk_write_mb_per_second,
            "disk, synced 4 KiB writes",
            self.disk_syncs_per_second,
            "loopback, one stream",
            self.loopback_mb_per_second,
            "loopback, 1 KiB round trips",
            self.loopback_round_trips_per_second,
        )
    }
}

/// Measures the disk that holds `directory`, and loopback; some 4 s.
///
/// # Errors
/// When there is no room or no port.
pub fn measure(directory: &Path) -> Result<Ceilings, Error> {
    let path = directory.join(format!("mqbench-self-test-{}", std::process::id()));
    let disk = File::create_new(&path).and_then(|mut file| Ok((write_rate(&mut file)?, sync_rate(&mut file)?)));
    // The file may be missing if it could not be made.
    let _removed = std::fs::remove_file(&path);
    let (written, synced) = disk.map_err(|error| Error::file(&path, error))?;
    Ok(Ceilings {
        disk_write_mb_per_second: written,
        disk_syncs_per_second: synced,
        loopback_mb_per_second: stream_rate().map_err(Error::Loops)?,
        loopback_round_trips_per_second: ping_rate().map_err(Error::Loops)?,
    })
}

fn write_rate(file: &mut File) -> io::Result<f64> {
    let chunk = vec![0x5a; CHUNK];
    let start = Instant::now();
    let mut written = 0_u64;
    while start.elapsed() < SPAN && written < WRITE_MAX {
        file.write_all(&chunk)?;
        written += CHUNK as u64;
    }
    // Without it this would measure the memory.
    file.sync_data()?;
    Ok(number(written) / 1e6 / start.elapsed().as_secs_f64())
}

fn sync_rate(file: &mut File) -> io::Result<f64> {
    let page = [0x5a; PAGE];
    let start = Instant::now();
    let mut syncs = 0_u64;
    while start.elapsed() < SPAN {
        file.write_all(&page)?;
        file.sync_data()?;
        syncs += 1;
    }
    Ok(number(syncs) / start.elapsed().as_secs_f64())
}

/// Two ends of a connection over loopback.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _peer) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

fn stream_rate() -> io::Result<f64> {
    let (mut near, mut far) = pair()?;
    let reader = std::thread::spawn(move || {
        let mut into = vec![0; CHUNK];
        while matches!(far.read(&mut into), Ok(1..)) {}
    });
    let chunk = vec![0x5a; CHUNK];
    let start = Instant::now();
    let mut sent = 0_u64;
    while start.elapsed() < SPAN {
        near.write_all(&chunk)?;
        sent += CHUNK as u64;
    }
    drop(near);
    // It has read all that was sent.
    let _ended = reader.join();
    Ok(number(sent) / 1e6 / start.elapsed().as_secs_f64())
}

fn ping_rate() -> io::Result<f64> {
    let (mut near, mut far) = pair()?;
    let echo = std::thread::spawn(move || {
        let mut ping = [0; PING];
        while far.read_exact(&mut ping).and_then(|()| far.write_all(&ping)).is_ok() {}
    });
    let mut ping = [0x5a; PING];
    let start = Instant::now();
    let mut round_trips = 0_u64;
    while start.elapsed() < SPAN {
        near.write_all(&ping)?;
        near.read_exact(&mut ping)?;
        round_trips += 1;
    }
    let rate = number(round_trips) / start.elapsed().as_secs_f64();
    drop(near);
    let _ended = echo.join();
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ceiling_is_measured_and_nothing_stays_behind() {
        let directory = tempfile::tempdir().unwrap();
        let ceilings = measure(directory.path()).unwrap();
        for figure in [
            ceilings.disk_write_mb_per_second,
            ceilings.disk_syncs_per_second,
            ceilings.loopback_mb_per_second,
            ceilings.loopback_round_trips_per_second,
        ] {
            assert!(figure.is_finite() && figure > 0.0, "{ceilings:?}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = measure(Path::new("/nonexistent-folder")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent-folder"), "{error}");
    }
}
