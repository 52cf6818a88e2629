//! A plain copy over loopback, to hold a catch-up against: sendfile on one side, reads and writes on the other.

use crate::cpu_seconds;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

const PIECE: usize = 256 << 10;

/// Copies these bytes of files into one file, and prints what that took.
pub(crate) fn plain(round: u32, segments: &[(PathBuf, u64)], to: &Path) {
    let total: u64 = segments.iter().map(|(_, size)| size).sum();
    let (before, begin) = (cpu_seconds(std::process::id()), Instant::now());
    transfer(
        |stream| {
            for (path, size) in segments {
                sendfile(&open(path), *size, stream);
            }
        },
        |mut stream| {
            let mut file = File::create(to).unwrap_or_else(|error| panic!("cannot make {}: {error}", to.display()));
            let mut buffer = vec![0; PIECE];
            loop {
                match stream.read(&mut buffer).expect("the copy goes on") {
                    0 => break,
                    count => file.write_all(&buffer[..count]).expect("the copy can be written"),
                }
            }
        },
    );
    report(round, "plain copy (sendfile, read and write)", total, begin, before);
    std::fs::remove_file(to).expect("the copy is there");
}

pub(crate) fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}

pub(crate) fn sendfile(file: &File, size: u64, stream: &TcpStream) {
    let mut offset = 0;
    while offset < size {
        let wanted = usize::try_from(size - offset).map_or(PIECE, |rest| rest.min(PIECE));
        let sent = rustix::fs::sendfile(stream, file, Some(&mut offset), wanted).expect("sendfile works");
        assert!(sent > 0, "the file ends early");
    }
}

/// Runs a sender and a receiver at the two ends of a connection over loopback.
pub(crate) fn transfer(send: impl FnOnce(&TcpStream) + Send, receive: impl FnOnce(TcpStream) + Send) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    std::thread::scope(|scope| {
        scope.spawn(move || receive(listener.accept().expect("the sender comes").0));
        let stream = TcpStream::connect(address).expect("the receiver listens");
        send(&stream);
    });
}

pub(crate) fn report(round: u32, what: &str, bytes: u64, begin: Instant, cpu_before: f64) {
    let (took, gigabytes) = (begin.elapsed().as_secs_f64(), bytes as f64 / 1e9);
    println!(
        "round {round} {what}: {:.2} GB/s; CPU s/GB {:.3}",
        gigabytes / took,
        (cpu_seconds(std::process::id()) - cpu_before) / gigabytes
    );
}
