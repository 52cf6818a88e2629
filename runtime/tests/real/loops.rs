//! Event loops, sockets, timers and tasks of the real world.

use crate::{in_each_way, paths};
use bytes::BytesMut;
use runtime::core::{CoreOptions, allowed_cpus, run_cores};
use runtime::mailbox::Mailboxes;
use runtime::{TcpListener, TcpStream};
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

fn any_port() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)
}

#[test]
fn every_core_runs_and_gives_its_outcome_in_order() {
    for io in paths() {
        let options = CoreOptions {
            cores: 3,
            pin: true,
            io,
        };
        let outcomes = run_cores(&options, |core| async move {
            runtime::sleep(Duration::from_millis(5)).await;
            // One core that fails does not keep the others from ending by themselves.
            if core == 1 {
                Err(io::Error::other("core 1 has had enough"))
            } else {
                Ok(core)
            }
        })
        .unwrap();
        assert!(matches!(outcomes[0], Ok(0)) && matches!(outcomes[2], Ok(2)));
        assert_eq!(outcomes[1].as_ref().unwrap_err().to_string(), "core 1 has had enough");
    }
}

#[test]
fn a_panic_in_a_core_is_passed_on_to_who_waits_for_the_cores() {
    let options = CoreOptions {
        cores: 2,
        pin: false,
        io: runtime::probe::IoPath::Blocking(runtime::probe::Refusal::Configured),
    };
    let outcome = std::panic::catch_unwind(|| {
        run_cores(&options, |core| async move {
            assert_ne!(core, 1, "core 1 breaks");
        })
    });
    assert!(outcome.is_err());
}

#[test]
fn cores_talk_by_mailbox() {
    for io in paths() {
        let options = CoreOptions {
            cores: 2,
            pin: false,
            io,
        };
        let mailboxes = Mailboxes::new(2, 1 << 20);
        let sums = run_cores(&options, move |core| {
            let mailboxes = mailboxes.clone();
            async move {
                let post = Rc::new(mailboxes.post(core));
                let flusher = Rc::clone(&post);
                let _runs_on = runtime::spawn(async move { flusher.run_flusher().await });
                for number in 0..1000_u64 {
                    post.send(1 - core, number);
                    if number % 100 == 0 {
                        runtime::yield_now().await;
                    }
                }
                let mut received = Vec::new();
                while received.len() < 1000 {
                    post.receive(&mut received).await;
                }
                // A core that ends takes its flusher along, so what it sent must have gone.
                post.flush();
                received.is_sorted() && received.iter().sum::<u64>() == 499_500
            }
        })
        .unwrap();
        assert_eq!(sums, [true, true]);
    }
}

#[test]
fn there_is_at_least_one_allowed_cpu_and_they_are_sorted() {
    let cpus = allowed_cpus();
    assert!(!cpus.is_empty() && cpus.is_sorted());
}

#[test]
fn sockets_carry_bytes_and_ends() {
    in_each_way(|_directory| async {
        let listener = TcpListener::bind(any_port(), false).unwrap();
        let address = listener.local_address().unwrap();
        let echo = runtime::spawn(async move {
            let (stream, peer) = listener.accept().await.unwrap();
            assert_eq!(stream.peer_address().unwrap(), peer);
            let mut buffer = BytesMut::with_capacity(1024);
            while stream.read(&mut buffer).await.unwrap() > 0 {
                write_all(&stream, &buffer.split()).await;
                buffer.reserve(1024);
            }
        });
        let stream = Rc::new(TcpStream::connect(address).await.unwrap());
        assert_eq!(stream.peer_address().unwrap(), address);
        let sent: Vec<u8> = (0..3_000_000_u32)
            .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
            .collect();
        let writer = Rc::clone(&stream);
        let bytes = sent.clone();
        let written = runtime::spawn(async move { write_all(&writer, &bytes).await });
        let mut received = BytesMut::with_capacity(sent.len());
        while received.len() < sent.len() {
            assert!(stream.read(&mut received).await.unwrap() > 0);
        }
        assert!(received == sent);
        written.await.unwrap();
        stream.shut_down();
        assert_eq!(stream.read(&mut received).await.unwrap(), 0);
        assert_eq!(
            stream.try_write(&[IoSlice::new(b"x")]).unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        echo.await.unwrap();
    });
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match stream.try_write(&[IoSlice::new(bytes)]) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await.unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_address_is_taken_once_unless_shared() {
    in_each_way(|_directory| async {
        let alone = TcpListener::bind(any_port(), false).unwrap();
        let taken = TcpListener::bind(alone.local_address().unwrap(), false).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let shared = TcpListener::bind(any_port(), true).unwrap();
        drop(TcpListener::bind(shared.local_address().unwrap(), true).unwrap());
    });
}

#[test]
fn timers_keep_their_time() {
    in_each_way(|_directory| async {
        let start = runtime::Instant::now();
        runtime::sleep(Duration::from_millis(20)).await;
        assert!(start.elapsed() >= Duration::from_millis(20));
        runtime::sleep_until(start).await;
        let slow = runtime::timeout(Duration::from_millis(5), runtime::sleep(Duration::from_secs(60))).await;
        assert!(slow.is_err());
        assert_eq!(runtime::timeout(Duration::from_secs(60), async { 7 }).await, Ok(7));
    });
}

#[test]
fn an_aborted_task_gives_none_and_a_finished_one_its_value() {
    in_each_way(|_directory| async {
        let task = runtime::spawn(std::future::pending::<()>());
        task.abort();
        assert_eq!(task.await, None);
        assert_eq!(runtime::spawn(async { 7 }).await, Some(7));
        assert_eq!(runtime::task::blocking(|| 8).await, 8);
    });
}

#[test]
fn asking_which_world_it_is_costs_nanoseconds() {
    let rounds = 1_000_000_u32;
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        runtime::mark::hit("never counted in the real world");
    }
    // Printed, not asserted: a loaded machine says what it likes.
    println!("{:?} for each look at the world", start.elapsed() / rounds);
}
