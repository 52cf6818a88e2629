//! The floor of this hour on this machine: a server that does nothing but what any broker must.
//!
//! It reads what clients send, appends the bodies to a file, one write for each turn of a loop (with SYNC_FLUSH one
//! fdatasync as well), and answers, one write for each connection and turn. It looks for nothing in a request but the number
//! that its answer carries, keeps no index, and every topic has 8 queues. What a broker costs beside it is the broker's own.

use protocol::body::route::{BrokerData, QueueData, TopicRouteData};
use protocol::request_code::RequestCode;
use rustix::event::epoll;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;
use tests::harness::{FlushMode, Process};

/// Bytes of a connection that may wait for the rest of their frame; who sends a greater one is cut off.
const READ_SIZE: usize = 64 << 10;
const EVENTS_MAX: usize = 64;
/// How long a new connection may wait for its thread.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
const START_LIMIT: Duration = Duration::from_secs(10);

/// What the program is started with to be the echo.
const ROLE: &str = "serve-echo";

/// The echo as a process of its own, so that its CPU time is its own.
pub(crate) struct Echo {
    pub(crate) process: Process,
    pub(crate) address: String,
    _directory: TempDir,
}

impl Echo {
    pub(crate) fn start(flush: FlushMode) -> Echo {
        let directory = tempfile::Builder::new().prefix("ringmq-echo-").tempdir();
        let directory = directory.expect("a temporary folder can be made");
        let this = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(this);
        command.arg(ROLE).arg(directory.path());
        if flush == FlushMode::Sync {
            command.arg("sync");
        }
        let mut process = Process::start("echo", &mut command);
        let port = process.await_line("port", START_LIMIT, |line| line.parse::<u16>().is_ok());
        Echo {
            process,
            address: format!("127.0.0.1:{port}"),
            _directory: directory,
        }
    }
}

/// Serves for ever if that is what this process was started for.
pub(crate) fn asked_for() -> Option<io::Result<()>> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ROLE {
        return None;
    }
    let directory = PathBuf::from(arguments.next()?);
    let flush = if arguments.next().is_some() {
        FlushMode::Sync
    } else {
        FlushMode::Async
    };
    Some(serve(&directory, flush))
}

/// Serves for ever, with a thread for each CPU; prints its port.
fn serve(directory: &Path, flush: FlushMode) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let mut threads = Vec::new();
    for number in 0..std::thread::available_parallelism()?.get() {
        let (connections, accepted) = mpsc::channel();
        let mut worker = Worker {
            polled: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            file: File::create(directory.join(number.to_string()))?,
            written: 0,
            appended: Vec::new(),
            flush,
            route: route(port),
        };
        std::thread::spawn(move || worker.run(&accepted));
        threads.push(connections);
    }
    println!("{port}");
    for (number, stream) in listener.incoming().enumerate() {
        let stream = stream?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let _ended = threads[number % threads.len()].send(stream);
    }
    Ok(())
}

struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    /// How many bytes of `unread` have come.
    filled: usize,
    answers: Vec<u8>,
}

struct Worker {
    polled: OwnedFd,
    connections: Vec<Option<Connection>>,
    file: File,
    written: u64,
    /// Bodies of this turn.
    appended: Vec<u8>,
    flush: FlushMode,
    route: Vec<u8>,
}

impl Worker {
    fn run(&mut self, accepted: &mpsc::Receiver<TcpStream>) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let interval = rustix::time::Timespec::try_from(LOOK_INTERVAL).ok();
        loop {
            events.clear();
            epoll::wait(
                &self.polled,
                rustix::buffer::spare_capacity(&mut events),
                interval.as_ref(),
            )?;
            for stream in accepted.try_iter() {
                self.add(stream)?;
            }
            for event in &events {
                self.read(number_of_connection(event));
            }
            if !self.appended.is_empty() {
                self.file.write_all_at(&self.appended, self.written)?;
                self.written += self.appended.len() as u64;
                self.appended.clear();
                if self.flush == FlushMode::Sync {
                    self.file.sync_data()?;
                }
            }
            for event in &events {
                self.answer(number_of_connection(event));
            }
        }
    }

    fn add(&mut self, stream: TcpStream) -> io::Result<()> {
        let data = epoll::EventData::new_u64(self.connections.len() as u64);
        epoll::add(&self.polled, &stream, data, epoll::EventFlags::IN)?;
        self.connections.push(Some(Connection {
            stream,
            unread: vec![0; READ_SIZE],
            filled: 0,
            answers: Vec::new(),
        }));
        Ok(())
    }

    /// Takes what has come; a connection that has ended, or makes no sense, goes.
    fn read(&mut self, number: usize) {
        let Some(connection) = &mut self.connections[number] else {
            return;
        };
        let count = match connection.stream.read(&mut connection.unread[connection.filled..]) {
            Ok(count) if count > 0 => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            _ended => {
                self.connections[number] = None;
                return;
            }
        };
        let filled = connection.filled + count;
        let mut rest = &connection.unread[..filled];
        while let Some((header, body, later)) = split_frame(rest) {
            let body_of_answer: &[u8] = if is_route_request(header) {
                &self.route
            } else {
                self.appended.extend_from_slice(body);
                &[]
            };
            put_answer(&mut connection.answers, opaque(header), body_of_answer);
            rest = later;
        }
        connection.filled = rest.len();
        let taken = filled - connection.filled;
        connection.unread.copy_within(taken..filled, 0);
    }

    fn answer(&mut self, number: usize) {
        let Some(connection) = &mut self.connections[number] else {
            return;
        };
        // Answers are small, and clients take them: what the socket does not take at once is a client that has stopped.
        if connection.stream.write_all(&connection.answers).is_err() {
            self.connections[number] = None;
            return;
        }
        connection.answers.clear();
    }
}

fn number_of_connection(event: &epoll::Event) -> usize {
    usize::try_from(event.data.u64()).expect("it was made from a usize")
}

/// Header and body of the first frame, and what follows it.
fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let length = number(0)?;
    let header_length = number(4)? & 0xff_ffff;
    let header = bytes.get(8..8 + header_length)?;
    let body = bytes.get(8 + header_length..4 + length)?;
    Some((header, body, &bytes[4 + length..]))
}

fn number_of(header: &[u8], key: &[u8]) -> Option<u32> {
    let at = memchr::memmem::find(header, key)? + key.len();
    let digits = header[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0_u32, |number, digit| {
        number.wrapping_mul(10).wrapping_add(u32::from(digit - b'0'))
    }))
}

fn opaque(header: &[u8]) -> u32 {
    number_of(header, b"\"opaque\":").unwrap_or(0)
}

fn is_route_request(header: &[u8]) -> bool {
    number_of(header, b"\"code\":") == u32::try_from(RequestCode::GET_ROUTEINFO_BY_TOPIC.0).ok()
}

fn put_answer(out: &mut Vec<u8>, opaque: u32, body: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    let written = write!(
        out,
        "{{\"code\":0,\"language\":\"OTHER\",\"version\":0,\"opaque\":{opaque},\"flag\":1,\"extFields\":\
         {{\"msgId\":\"7F0000010000000000000000000000AA\",\"queueId\":\"0\",\"queueOffset\":\"1\"}}}}"
    );
    written.expect("a vector takes all");
    let size = |bytes: usize| u32::try_from(bytes).expect("an answer is small");
    let header_length = size(out.len() - start - 8);
    let length = 4 + header_length + size(body.len());
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    out[start + 4..start + 8].copy_from_slice(&header_length.to_be_bytes());
    out.extend_from_slice(body);
}

/// What a client is told of every topic.
fn route(port: u16) -> Vec<u8> {
    let name = "echo".to_owned();
    let route = TopicRouteData {
        broker_datas: vec![BrokerData {
            broker_addrs: [(0, format!("127.0.0.1:{port}"))].into(),
            broker_name: name.clone(),
            cluster: name.clone(),
            ..BrokerData::default()
        }],
        queue_datas: vec![QueueData {
            broker_name: name,
            perm: 6,
            read_queue_nums: 8,
            write_queue_nums: 8,
            topic_sys_flag: 0,
        }],
        ..TopicRouteData::default()
    };
    serde_json::to_vec(&route).expect("a route is JSON")
}
