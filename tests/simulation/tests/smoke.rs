//! The simulator itself, as the scenarios here use it: two nodes, a file, a socket, a power cut, and the same run twice.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets an error it does not expect has failed"
)]

use bytes::{Bytes, BytesMut};
use runtime::file::{self, File, OpenOptions};
use runtime::sim::{Options, Simulation};
use runtime::{TcpListener, TcpStream};
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

const LOG: &str = "/store/log";

fn address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, number))
}

/// Takes one byte a connection, makes it durable and gives it back.
async fn serve() {
    file::create_directory(Path::new("/store")).await.unwrap();
    let log = File::open(Path::new(LOG), OpenOptions::read_write()).await.unwrap();
    file::sync_directory(Path::new("/store")).await.unwrap();
    let listener = TcpListener::bind(SocketAddr::new(address(1), 10911), false).unwrap();
    loop {
        let (stream, _peer) = listener.accept().await.unwrap();
        let mut byte = BytesMut::with_capacity(1);
        if stream.read(&mut byte).await.is_ok_and(|count| count > 0) {
            let end = log.len().await.unwrap();
            log.write_at(end, &[Bytes::copy_from_slice(&byte)]).await.unwrap();
            log.sync_data().await.unwrap();
            let _gone = stream.try_write(&[IoSlice::new(&byte)]);
        }
    }
}

async fn send(byte: u8) -> bool {
    let sent = async {
        let stream = TcpStream::connect(SocketAddr::new(address(1), 10911)).await?;
        stream.try_write(&[IoSlice::new(&[byte])])?;
        stream.read(&mut BytesMut::with_capacity(1)).await
    };
    let answer = runtime::timeout(Duration::from_secs(1), sent).await;
    matches!(answer, Ok(Ok(1)))
}

/// Sends ten bytes with a power cut after the fifth; gives the trace hash and what the log holds.
fn run(seed: u64) -> (u64, Vec<u8>) {
    let simulation = Simulation::new(seed, Options::default());
    let server = simulation.node("server", address(1));
    let client = simulation.node("client", address(2));
    simulation.start(server, serve);
    simulation.start(client, runtime::signal::terminated);
    simulation.run_for(Duration::from_millis(10));
    for byte in 0..10 {
        let answered = simulation
            .block_on(client, send(byte), Duration::from_secs(10))
            .unwrap();
        assert!(answered, "seed {seed}: byte {byte} was not answered");
        if byte == 4 {
            simulation.crash(server);
            simulation.restart(server);
            simulation.run_for(Duration::from_millis(10));
        }
    }
    (
        simulation.trace_hash(),
        simulation.file(server, Path::new(LOG)).unwrap(),
    )
}

#[test]
fn what_was_answered_outlives_a_power_cut_and_a_seed_repeats() {
    for seed in 0..20 {
        let first = run(seed);
        assert_eq!(first.1, (0..10).collect::<Vec<u8>>(), "seed {seed}");
        assert_eq!(first, run(seed), "seed {seed}");
    }
}
