//! TCP between nodes: order, back-pressure, ends, resets, partitions.

use crate::{LIMIT, address, options, wait_for_stop};
use bytes::BytesMut;
use runtime::sim::{FaultKind, Faults, MILLION, NodeId, Simulation};
use runtime::{TcpListener, TcpStream};
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

const PORT: u16 = 10911;

fn server_address() -> SocketAddr {
    SocketAddr::new(address(1), PORT)
}

/// Nodes 0 and 1; the first gives back every byte, on each connection.
fn echo_world(seed: u64, faults: Faults) -> (Simulation, NodeId, NodeId) {
    let simulation = Simulation::new(seed, options(faults));
    let server = simulation.node("server", address(1));
    let client = simulation.node("client", address(2));
    simulation.start(server, serve_echo);
    simulation.start(client, wait_for_stop);
    simulation.run_for(Duration::from_millis(1));
    (simulation, server, client)
}

async fn serve_echo() {
    let listener = TcpListener::bind(server_address(), false).unwrap();
    loop {
        let (stream, _peer) = listener.accept().await.unwrap();
        let _runs_on = runtime::spawn(async move {
            let mut buffer = BytesMut::with_capacity(4096);
            while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                if write_all(&stream, &buffer.split()).await.is_err() {
                    break;
                }
                buffer.reserve(4096);
            }
        });
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(&[IoSlice::new(bytes)]) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn read_exactly(stream: &TcpStream, size: usize) -> io::Result<Vec<u8>> {
    let mut buffer = BytesMut::with_capacity(size);
    while buffer.len() < size {
        if stream.read(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer.to_vec())
}

async fn ask(stream: &TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    write_all(stream, bytes).await?;
    read_exactly(stream, bytes.len()).await
}

#[test]
fn bytes_arrive_whole_and_in_order_through_partial_reads_and_writes() {
    for seed in 0..20 {
        let faults = Faults::none()
            .with(FaultKind::PartialRead, MILLION / 2)
            .with(FaultKind::PartialWrite, MILLION / 2)
            .with(FaultKind::NetworkDelay, MILLION / 20);
        let (simulation, _server, client) = echo_world(seed, faults);
        let sent: Vec<u8> = (0..100_000_u32)
            .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
            .collect();
        let expected = sent.clone();
        let received = simulation.block_on(
            client,
            async move {
                let stream = Rc::new(TcpStream::connect(server_address()).await.unwrap());
                let writer = Rc::clone(&stream);
                let bytes = sent.clone();
                // More than both buffers hold: writing must wait for reading.
                let written = runtime::spawn(async move { write_all(&writer, &bytes).await.unwrap() });
                let received = read_exactly(&stream, sent.len()).await.unwrap();
                written.await.unwrap();
                received
            },
            LIMIT,
        );
        assert!(received.unwrap() == expected, "seed {seed}");
        assert_eq!(
            simulation
                .report()
                .missing(&[FaultKind::PartialRead, FaultKind::PartialWrite], &[]),
            Vec::<String>::new()
        );
    }
}

#[test]
fn a_writer_waits_when_the_reader_does_not_read() {
    let simulation = Simulation::new(3, options(Faults::none()));
    let (server, client) = (
        simulation.node("server", address(1)),
        simulation.node("client", address(2)),
    );
    simulation.start(server, || async {
        let listener = TcpListener::bind(server_address(), false).unwrap();
        let _held = listener.accept().await.unwrap();
        wait_for_stop().await;
    });
    simulation.start(client, wait_for_stop);
    simulation.run_for(Duration::from_millis(1));
    let written = Rc::new(Cell::new(0));
    let count = Rc::clone(&written);
    let _writes_on = simulation.spawn(client, async move {
        let stream = TcpStream::connect(server_address()).await.unwrap();
        loop {
            write_all(&stream, &[0; 1000]).await.unwrap();
            count.set(count.get() + 1000);
        }
    });
    simulation.run_for(Duration::from_secs(60));
    assert!(written.get() > 60_000 && written.get() <= 65_536, "{}", written.get());
}

#[test]
fn a_connection_to_a_port_where_nobody_listens_is_refused() {
    let (simulation, _server, client) = echo_world(1, Faults::none());
    let outcome = simulation.block_on(client, TcpStream::connect(SocketAddr::new(address(1), PORT + 1)), LIMIT);
    assert_eq!(outcome.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_machine_without_power_does_not_answer_at_all() {
    let (simulation, server, client) = echo_world(1, Faults::none());
    simulation.crash(server);
    let before = simulation.now();
    let outcome = simulation.block_on(client, TcpStream::connect(server_address()), LIMIT);
    assert_eq!(outcome.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(simulation.now() - before >= Duration::from_secs(60));
}

#[test]
fn a_killed_process_ends_its_connections_at_once() {
    let (simulation, server, client) = echo_world(1, Faults::none());
    let outcome = Rc::new(RefCell::new(None));
    let kept = Rc::clone(&outcome);
    let _runs_on = simulation.spawn(client, async move {
        let stream = TcpStream::connect(server_address()).await.unwrap();
        ask(&stream, b"hello").await.unwrap();
        let read = stream.read(&mut BytesMut::with_capacity(10)).await;
        *kept.borrow_mut() = Some(read.map_err(|error| error.kind()));
    });
    simulation.run_for(Duration::from_secs(1));
    assert!(outcome.borrow().is_none());
    simulation.kill(server);
    simulation.run_for(Duration::from_secs(1));
    let ended = matches!(*outcome.borrow(), Some(Ok(0) | Err(io::ErrorKind::ConnectionReset)));
    assert!(ended, "{outcome:?}");
}

#[test]
fn after_a_power_cut_a_silent_peer_waits_and_a_writing_peer_is_told_by_the_restarted_machine() {
    let (simulation, server, client) = echo_world(1, Faults::none());
    let stream = simulation
        .block_on(client, TcpStream::connect(server_address()), LIMIT)
        .unwrap()
        .unwrap();
    let stream = Rc::new(stream);
    let reading = Rc::clone(&stream);
    let waits = simulation.spawn(client, async move {
        reading.read(&mut BytesMut::with_capacity(10)).await.is_err()
    });
    simulation.crash(server);
    simulation.run_for(Duration::from_secs(300));
    assert!(!waits.is_finished());
    simulation.restart(server);
    simulation.run_for(Duration::from_secs(300));
    assert!(!waits.is_finished());
    simulation
        .on(client, || stream.try_write(&[IoSlice::new(b"x")]))
        .unwrap();
    simulation.run_for(Duration::from_secs(1));
    assert!(waits.is_finished());
    simulation.on(client, || drop(stream));
}

#[test]
fn a_short_partition_delays_bytes_and_a_long_one_breaks_the_writers_end() {
    for (outage, survives) in [(Duration::from_secs(5), true), (Duration::from_secs(300), false)] {
        let (simulation, server, client) = echo_world(1, Faults::none());
        let outcome = simulation.spawn(client, async {
            let stream = TcpStream::connect(server_address()).await.unwrap();
            runtime::sleep(Duration::from_secs(1)).await;
            ask(&stream, b"through the wall").await.is_ok()
        });
        simulation.run_for(Duration::from_millis(500));
        simulation.partition(server, client);
        simulation.run_for(outage);
        assert_eq!(outcome.is_finished(), !survives);
        simulation.heal(server, client);
        let answered = simulation.block_on(client, outcome, LIMIT).unwrap();
        assert_eq!(answered, Some(survives));
    }
}

#[test]
fn a_one_way_partition_lets_requests_in_and_no_answer_out() {
    let (simulation, server, client) = echo_world(1, Faults::none());
    let stream = simulation
        .block_on(client, TcpStream::connect(server_address()), LIMIT)
        .unwrap()
        .unwrap();
    simulation.partition_one_way(server, client);
    let answer = simulation.spawn(client, async move { ask(&stream, b"anybody?").await });
    simulation.run_for(Duration::from_secs(30));
    assert!(!answer.is_finished());
    simulation.heal_all();
    let answer = simulation.block_on(client, answer, LIMIT).unwrap();
    assert_eq!(answer.unwrap().unwrap(), b"anybody?");
}

#[test]
fn shared_listeners_each_get_connections_and_unshared_ones_exclude_each_other() {
    let simulation = Simulation::new(1, options(Faults::none()));
    let (server, client) = (
        simulation.node("server", address(1)),
        simulation.node("client", address(2)),
    );
    let accepted = Rc::new(RefCell::new([0; 2]));
    let counts = Rc::clone(&accepted);
    simulation.start_cores(server, 2, move || {
        let counts = Rc::clone(&counts);
        move |core: usize| {
            let counts = Rc::clone(&counts);
            async move {
                let listener = TcpListener::bind(server_address(), true).unwrap();
                let taken = TcpListener::bind(server_address(), false).unwrap_err();
                assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
                loop {
                    let _closed = listener.accept().await.unwrap();
                    counts.borrow_mut()[core] += 1;
                }
            }
        }
    });
    simulation.start(client, wait_for_stop);
    simulation.run_for(Duration::from_millis(1));
    for _ in 0..40 {
        let connected = simulation.block_on(client, TcpStream::connect(server_address()), LIMIT);
        simulation.on(client, || drop(connected));
    }
    simulation.run_for(Duration::from_secs(1));
    let counts = *accepted.borrow();
    assert!(
        counts[0] > 5 && counts[1] > 5 && counts[0] + counts[1] == 40,
        "{counts:?}"
    );
}

#[test]
fn a_half_open_connection_carries_nothing_and_tells_nobody() {
    let (simulation, _server, client) = echo_world(1, Faults::none());
    simulation.set_faults(client, Faults::none().with(FaultKind::HalfOpen, MILLION));
    let answer = simulation.spawn(client, async {
        let stream = TcpStream::connect(server_address()).await.unwrap();
        ask(&stream, b"hello").await
    });
    simulation.run_for(Duration::from_secs(30));
    assert!(!answer.is_finished());
    assert_eq!(simulation.report().faults.get(&FaultKind::HalfOpen), Some(&1));
    let outcome = simulation.block_on(client, answer, LIMIT).unwrap().unwrap();
    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[test]
fn resets_break_both_ends() {
    let (simulation, server, client) = echo_world(1, Faults::none());
    let waits = simulation.spawn(client, async {
        let stream = TcpStream::connect(server_address()).await.unwrap();
        stream
            .read(&mut BytesMut::with_capacity(10))
            .await
            .map_err(|error| error.kind())
    });
    simulation.run_for(Duration::from_secs(1));
    simulation.reset_connections(server, client);
    let outcome = simulation.block_on(client, waits, LIMIT).unwrap().unwrap();
    assert_eq!(outcome, Err(io::ErrorKind::ConnectionReset));
}

#[test]
fn shutting_down_ends_reading_here_and_there() {
    let (simulation, _server, client) = echo_world(1, Faults::none());
    let outcome = simulation.block_on(
        client,
        async {
            let stream = TcpStream::connect(server_address()).await.unwrap();
            ask(&stream, b"hello").await.unwrap();
            stream.shut_down();
            let read = stream.read(&mut BytesMut::with_capacity(10)).await.unwrap();
            let written = stream.try_write(&[IoSlice::new(b"x")]).unwrap_err().kind();
            (read, written)
        },
        LIMIT,
    );
    assert_eq!(outcome, Ok((0, io::ErrorKind::BrokenPipe)));
}
