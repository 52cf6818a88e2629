//! A small durable server of two cores and its clients: files, sockets, timers, mailboxes and many tasks in one scenario.
//!
//! A client sends a number of 8 bytes and gets it back once its record is synced. Record: 1024 bytes that follow from the
//! number, so that a torn one is seen. Recovery keeps the records up to the first that is not whole.

use crate::{address, options};
use bytes::{Bytes, BytesMut};
use runtime::file::{self, File, OpenOptions};
use runtime::mailbox::{Mailboxes, Post};
use runtime::sim::{Faults, Report, Simulation};
use runtime::sync::{Notify, oneshot};
use runtime::{TcpListener, TcpStream};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

const DIRECTORY: &str = "/ledger";
const CHECKPOINT: &str = "/ledger/checkpoint";
const LOG: &str = "/ledger/log";
const RECORD_SIZE: u64 = 1024;
const CORES: usize = 2;
const CLIENT_TASKS: u64 = 4;

/// What came of one seed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) trace_hash: u64,
    pub(crate) acknowledged: Vec<u64>,
    /// Acknowledged numbers that the log does not hold in the end.
    pub(crate) lost: Vec<u64>,
    pub(crate) report: Report,
}

/// Runs the scenario: a virtual second of work and trouble, then a quiet end and a check.
pub(crate) fn run(seed: u64, faults: Faults) -> Outcome {
    let simulation = Simulation::new(seed, options(faults));
    let server = simulation.node("server", address(1));
    simulation.start_cores(server, CORES, || {
        let mailboxes = Mailboxes::new(CORES, 1000);
        move |core| serve(mailboxes.clone(), core)
    });
    let acknowledged = Rc::new(RefCell::new(Vec::new()));
    let mut nodes = vec![server];
    for number in 0..2 {
        let client = simulation.node(&format!("client {number}"), address(2 + number));
        let sink = Rc::clone(&acknowledged);
        simulation.start(client, move || send_numbers(u64::from(number), Rc::clone(&sink)));
        nodes.push(client);
    }
    for _ in 0..10 {
        simulation.run_for(Duration::from_millis(100));
        simulation.disturb(&nodes, Duration::from_millis(200));
    }
    simulation.run_for(Duration::from_millis(300));
    simulation.heal_all();
    for &client in &nodes[1..] {
        simulation.kill(client);
    }
    simulation.set_all_faults(&Faults::power_cuts_only());
    simulation.crash(server);
    simulation.set_all_faults(&Faults::none());
    simulation.restart(server);
    simulation.run_for(Duration::from_secs(60));
    let log = simulation.file(server, Path::new(LOG)).unwrap_or_default();
    let kept: BTreeSet<u64> = log.chunks(1024).map_while(number_of).collect();
    let acknowledged = acknowledged.borrow().clone();
    let lost = acknowledged
        .iter()
        .copied()
        .filter(|number| !kept.contains(number))
        .collect();
    Outcome {
        trace_hash: simulation.trace_hash(),
        acknowledged,
        lost,
        report: simulation.report(),
    }
}

fn record(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(128)
}

fn number_of(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    (number != 0 && bytes == record(number)).then_some(number)
}

#[derive(Debug)]
enum Message {
    Append { from: usize, ticket: u64, number: u64 },
    Done { ticket: u64 },
}

/// What the tasks of one core share.
struct Core {
    post: Post<Message>,
    tickets: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, oneshot::Sender<()>>>,
    /// Core 0: what is to be appended.
    appends: RefCell<Vec<(usize, u64, u64)>>,
    more: Notify,
}

async fn serve(mailboxes: Mailboxes<Message>, core: usize) {
    let core = Rc::new(Core {
        post: mailboxes.post(core),
        tickets: Cell::new(0),
        waiting: RefCell::default(),
        appends: RefCell::default(),
        more: Notify::new(),
    });
    let flusher = Rc::clone(&core);
    let _flushes_on = runtime::spawn(async move { flusher.post.run_flusher().await });
    let receiver = Rc::clone(&core);
    let _receives_on = runtime::spawn(async move { receive(&receiver).await });
    if core.post.core() == 0 {
        let log = Rc::clone(&core);
        let _logs_on = runtime::spawn(async move {
            // A log whose disk fails says nothing more; clients get no answer.
            if append_all(&log).await.is_err() {
                runtime::mark!("fenced");
            }
        });
    }
    accept(&core).await;
}

async fn receive(core: &Core) {
    let mut batch = Vec::new();
    loop {
        core.post.receive(&mut batch).await;
        for message in batch.drain(..) {
            match message {
                Message::Append { from, ticket, number } => {
                    core.appends.borrow_mut().push((from, ticket, number));
                    core.more.notify_one();
                }
                Message::Done { ticket } => {
                    let waiting = core.waiting.borrow_mut().remove(&ticket);
                    if let Some(waiting) = waiting {
                        let _gone = waiting.send(());
                    }
                }
            }
        }
    }
}

async fn append_all(core: &Core) -> io::Result<()> {
    let (log, mut end) = recover().await?;
    loop {
        core.more.notified().await;
        let batch = core.appends.take();
        let records: Vec<Bytes> = batch
            .iter()
            .map(|(_, _, number)| Bytes::from(record(*number)))
            .collect();
        log.write_at(end, &records).await?;
        end += records.len() as u64 * RECORD_SIZE;
        log.sync_data().await?;
        if end % (8 * RECORD_SIZE) == 0 {
            file::replace(Path::new(CHECKPOINT), end.to_le_bytes().to_vec()).await?;
        }
        for (from, ticket, _number) in batch {
            core.post.send(from, Message::Done { ticket });
        }
    }
}

async fn recover() -> io::Result<(File, u64)> {
    let path = Path::new(LOG);
    file::create_directory(Path::new(DIRECTORY)).await?;
    let log = File::open(path, OpenOptions::read_write()).await?;
    file::sync_directory(Path::new(DIRECTORY)).await?;
    let mut end = 0;
    loop {
        let bytes = log.read_at(end, 1024).await?;
        if number_of(&bytes).is_none() {
            break;
        }
        // Written again: if a sync failed before a kill, the cache shows bytes that the disk lacks and that count as
        // clean. Seed 156 lost everything acknowledged behind such a hole.
        log.write_at(end, &[bytes]).await?;
        end += RECORD_SIZE;
    }
    // Replaced only after its records were synced, so it never runs ahead.
    if let Ok(checkpoint) = file::read(Path::new(CHECKPOINT)).await {
        let whole = checkpoint.try_into().map(u64::from_le_bytes);
        if whole.is_err() || whole.is_ok_and(|checkpoint| checkpoint > end) {
            runtime::mark!("checkpoint ahead");
        }
    }
    if end < log.len().await? {
        runtime::mark!("tail cut");
        log.set_len(end).await?;
    }
    log.sync_data().await?;
    Ok((log, end))
}

async fn accept(core: &Rc<Core>) {
    let listener = TcpListener::bind(server_address(), true).unwrap();
    while let Ok((stream, _peer)) = listener.accept().await {
        let core = Rc::clone(core);
        let _answers_on = runtime::spawn(async move {
            let _ended = answer(&core, &stream).await;
        });
    }
}

async fn answer(core: &Core, stream: &TcpStream) -> io::Result<()> {
    loop {
        let number = read_number(stream).await?;
        let ticket = core.tickets.get();
        core.tickets.set(ticket + 1);
        let (done, wait) = oneshot::channel();
        core.waiting.borrow_mut().insert(ticket, done);
        let from = core.post.core();
        if core.post.try_send(0, Message::Append { from, ticket, number }).is_err() {
            return Ok(());
        }
        if wait.await.is_err() {
            return Ok(());
        }
        write_number(stream, number).await?;
    }
}

async fn send_numbers(client: u64, acknowledged: Rc<RefCell<Vec<u64>>>) {
    let tasks: Vec<_> = (0..CLIENT_TASKS)
        .map(|task| {
            let acknowledged = Rc::clone(&acknowledged);
            runtime::spawn(async move {
                // Never twice the same, also not after a restart.
                let start = runtime::Instant::now().as_nanos() << 8 | (client * CLIENT_TASKS + task) << 4;
                let mut number = start + 1;
                loop {
                    let _failed = send_until_trouble(&mut number, &acknowledged).await;
                    runtime::sleep(Duration::from_millis(20)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
}

async fn send_until_trouble(number: &mut u64, acknowledged: &RefCell<Vec<u64>>) -> io::Result<()> {
    let limit = Duration::from_millis(100);
    let late = |_elapsed| io::Error::from(io::ErrorKind::TimedOut);
    let stream = runtime::timeout(limit, TcpStream::connect(server_address()))
        .await
        .map_err(late)??;
    loop {
        *number += 1 << 20;
        write_number(&stream, *number).await?;
        let answer = runtime::timeout(limit, read_number(&stream)).await.map_err(late)??;
        assert_eq!(answer, *number);
        acknowledged.borrow_mut().push(answer);
        runtime::sleep(Duration::from_micros(runtime::rng::random_below(50_000))).await;
    }
}

async fn read_number(stream: &TcpStream) -> io::Result<u64> {
    let mut buffer = BytesMut::with_capacity(8);
    while buffer.len() < 8 {
        if stream.read(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(u64::from_le_bytes(
        buffer[..].try_into().map_err(|_length| io::ErrorKind::InvalidData)?,
    ))
}

async fn write_number(stream: &TcpStream, number: u64) -> io::Result<()> {
    let bytes = number.to_le_bytes();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        match stream.try_write(&[IoSlice::new(rest)]) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn server_address() -> SocketAddr {
    SocketAddr::new(address(1), 9000)
}
