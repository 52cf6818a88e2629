//! Hostile frames over real sockets against the real servers, while an honest client sends and reads.
//!
//! Nothing of the honest client's is lost, no answer stays away, both servers live and grow by no more than 64 MiB. Figures are
//! printed: the servers' growth, and the honest client's latency beside the spray and beside its control, in turns: the same
//! attackers, but at a sink that throws away what it reads. What differs is what the servers do, and not what making
//! the frames takes from a machine that all of them share. `RINGMQ_TEST_SPRAY_FRAMES` and `RINGMQ_TEST_SPRAY_CONNECTIONS`
//! set the number of frames and of slow connections, `RINGMQ_TEST_SPRAY_RATE` the frames a second, `RINGMQ_TEST_SPRAY_ROUNDS` the turns.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by a panic, and prints its figures"
)]

use bytes::BytesMut;
use fuzz::Random;
use protocol::frame::{FLAG_ONEWAY, Frame, Serialize, split_frame};
use protocol::header_writer::HeaderWriter;
use protocol::message::record::Records;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::harness::{FlushMode, Separate, Setup, resident_bytes};

const TOPIC: &str = "honest";
/// Sends to the first are timed, the others fill caches.
const QUEUES: u64 = 5;
const SPRAYERS: u64 = 4;
/// Longer than any answer to an honest client may take; a stall is what this test is there to find.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// What a server may grow by, in KiB.
const GROWTH_MAX: u64 = 64 << 10;
/// A slow connection gives a byte each time: slow enough that what it costs is a place, and not the processor.
const TRICKLE: Duration = Duration::from_millis(256);
/// Slow peers know nothing of each other: their bytes come spread over that time, in as many portions.
const TRICKLE_PORTIONS: u32 = 128;
/// Frames written in one go.
const PIPELINED: usize = 16;

fn number(variable: &str, default: u64) -> u64 {
    let set = std::env::var(variable).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address} takes no connection: {error}"));
    stream.set_nodelay(true).unwrap();
    stream
}

/// One connection that does as it should.
struct Honest {
    stream: TcpStream,
    arrived: BytesMut,
    queue: u64,
    body_size: usize,
    sent: u64,
}

impl Honest {
    fn new(address: &str) -> Honest {
        Honest::with(address, 0, 8)
    }

    fn with(address: &str, queue: u64, body_size: usize) -> Honest {
        let stream = connect(address);
        stream.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
        Honest {
            stream,
            arrived: BytesMut::new(),
            queue,
            body_size,
            sent: 0,
        }
    }

    fn ask(&mut self, code: RequestCode, fields: impl Fn(&mut HeaderWriter<'_>), body: &[u8]) -> Frame {
        let mut out = BytesMut::new();
        let mut writer = HeaderWriter::request(&mut out, Serialize::Json, code, 1, 0);
        fields(&mut writer);
        writer.finish(body.len()).unwrap();
        out.extend_from_slice(body);
        self.stream.write_all(&out).expect("the server reads");
        loop {
            if let Some(frame) = split_frame(&mut self.arrived).expect("the server writes frames") {
                return frame;
            }
            let mut part = [0; 64 << 10];
            let count = match self.stream.read(&mut part) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                count => count.expect("an honest client is answered"),
            };
            assert!(count > 0, "the server hung up on an honest client");
            self.arrived.extend_from_slice(&part[..count]);
        }
    }

    fn send(&mut self) -> Duration {
        let start = Instant::now();
        let mut body = vec![0; self.body_size];
        body[..8].copy_from_slice(&self.sent.to_be_bytes());
        let queue = self.queue.cast_signed();
        let fields = |writer: &mut HeaderWriter<'_>| {
            writer.put("producerGroup", "honest");
            writer.put("topic", TOPIC);
            writer.put("defaultTopic", "TBW102");
            writer.put_i64("defaultTopicQueueNums", QUEUES.cast_signed());
            writer.put_i64("queueId", queue);
            writer.put_i64("sysFlag", 0);
            writer.put_i64("bornTimestamp", 1);
            writer.put_i64("flag", 0);
            writer.put("properties", "");
        };
        let answer = self.ask(RequestCode::SEND_MESSAGE, fields, &body);
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{:?}", answer.remark());
        self.sent += 1;
        start.elapsed()
    }

    /// The numbers that the queue holds from an offset on, and the next offset.
    fn pull(&mut self, from: u64) -> (Vec<u64>, u64) {
        let queue = self.queue.cast_signed();
        let fields = |writer: &mut HeaderWriter<'_>| {
            writer.put("consumerGroup", "honest");
            writer.put("topic", TOPIC);
            writer.put_i64("queueId", queue);
            writer.put_i64("queueOffset", from.cast_signed());
            writer.put_i64("maxMsgNums", 32);
            writer.put_i64("sysFlag", 4);
            writer.put_i64("commitOffset", 0);
            writer.put_i64("suspendTimeoutMillis", 0);
            writer.put("subscription", "*");
            writer.put_i64("subVersion", 0);
        };
        let answer = self.ask(RequestCode::PULL_MESSAGE, fields, b"");
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{:?}", answer.remark());
        let numbers: Vec<u64> = Records::new(answer.body())
            .map(|record| u64::from_be_bytes(record.unwrap().body[..8].try_into().unwrap()))
            .collect();
        let next = from + numbers.len() as u64;
        (numbers, next)
    }

    /// A send each millisecond, every message read back; what each send took.
    fn work_until(&mut self, done: impl Fn() -> bool) -> Vec<Duration> {
        let mut latencies = Vec::new();
        let mut read = self.sent;
        while !done() {
            latencies.push(self.send());
            if self.sent - read == 32 {
                let (numbers, next) = self.pull(read);
                assert_eq!(numbers, (read..next).collect::<Vec<_>>());
                read = next;
            }
            thread::sleep(Duration::from_millis(1));
        }
        latencies
    }

    fn check_all(&mut self) {
        let mut read = 0;
        while read < self.sent {
            let (numbers, next) = self.pull(read);
            assert!(next > read, "nothing at offset {read} of {}", self.sent);
            assert_eq!(numbers, (read..next).collect::<Vec<_>>(), "lost or changed");
            read = next;
        }
    }
}

/// Fills what a broker that has worked for a while keeps in memory, so that growth is by what is sprayed alone.
fn warm_up(address: &str) {
    // Not the queue that is looked at later.
    for queue in 1..QUEUES {
        let mut honest = Honest::with(address, queue, 16 << 10);
        for _ in 0..1_000 {
            honest.send();
        }
        honest.check_all();
    }
}

fn report(what: &str, latencies: &mut [Duration]) {
    latencies.sort();
    let at = |per_mille: usize| latencies[(latencies.len() - 1) * per_mille / 1000];
    println!(
        "honest sends beside {what}: {} p50 {:?} p99 {:?} max {:?}",
        latencies.len(),
        at(500),
        at(990),
        at(1000)
    );
}

/// Sound frames by Apache's classes, under any code and broken or not; or bytes that are no frame.
struct Hostile {
    random: Random,
    sound: Vec<Frame>,
}

impl Hostile {
    fn new(seed: u64) -> Hostile {
        let parse = |seed: Vec<u8>| split_frame(&mut BytesMut::from(&seed[1..])).ok().flatten();
        Hostile {
            random: Random::new(seed),
            sound: fuzz::seeds("frame").into_iter().filter_map(parse).collect(),
        }
    }

    fn frame(&mut self) -> Vec<u8> {
        match self.random.below(16) {
            0 => (0..self.random.below(200)).map(|_| self.random.byte()).collect(),
            // More than any frame may have; a header longer than its frame; half a frame of the greatest size.
            1 => vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1],
            2 => vec![0, 0, 0, 8, 0, 0xff, 0xff, 0xff, 1, 2, 3, 4],
            3 => vec![1, 0, 0, 0, 0, 0, 0, 2, b'{', b'}', 1, 2, 3],
            4 => self.written(b"", |writer| writer.put("topic", &"../\u{0}x".repeat(50))),
            5 => self.written("[".repeat(100_000).as_bytes(), |_| {}),
            6 => self.written(b"", |writer| {
                (0..300).for_each(|number| writer.put(&format!("key{number}"), "v"));
            }),
            7..=10 => self.sound(),
            _ => {
                let sound = self.sound();
                self.random.mutate(&sound)
            }
        }
    }

    /// Any code, most of them served, some of them by nobody.
    fn code(&mut self) -> RequestCode {
        let code = [10, 11, 12, 310, 320, 34, 36, 105, 1000][self.random.below(9)];
        match self.random.below(3) {
            0 => RequestCode(code),
            _ => RequestCode(i32::try_from(self.random.below(420)).unwrap()),
        }
    }

    fn written(&mut self, body: &[u8], fields: impl Fn(&mut HeaderWriter<'_>)) -> Vec<u8> {
        let serialize = [Serialize::Json, Serialize::Binary][self.random.below(2)];
        let flag = [0, FLAG_ONEWAY][self.random.below(2)];
        let mut out = BytesMut::new();
        let code = self.code();
        let mut writer = HeaderWriter::request(&mut out, serialize, code, 7, flag);
        fields(&mut writer);
        writer.finish(body.len()).unwrap();
        out.extend_from_slice(body);
        out.to_vec()
    }

    fn sound(&mut self) -> Vec<u8> {
        let frame = self.sound[self.random.below(self.sound.len())].clone();
        self.written(frame.body(), |writer| {
            frame.ext().for_each(|(key, value)| writer.put(&key, &value.to_cow()));
        })
    }

    /// Sprays until `frames` are sent by all. A connection that the server closes is made again.
    fn spray(&mut self, address: &str, left: &AtomicU64, pause: Duration) {
        give_way();
        let mut stream = connect_hostile(address);
        let mut due = Instant::now();
        while left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(PIPELINED as u64)
            })
            .is_ok()
        {
            let bytes: Vec<u8> = (0..PIPELINED).flat_map(|_| self.frame()).collect();
            let mut answers = [0; 64 << 10];
            let gone = match stream.write_all(&bytes) {
                Ok(()) => match stream.read(&mut answers) {
                    Ok(count) => count == 0,
                    Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                },
                Err(_) => true,
            };
            if gone || self.random.below(50) == 0 {
                stream = connect_hostile(address);
            }
            due += pause;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}

/// Attackers have machines of their own; here they are not to take the processor from the server. A low priority is not
/// enough: the scheduler lets such a thread end its slice of some ms while a server that was just woken waits.
fn give_way() {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let done = Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "chrt of util-linux lets a thread run when all others are idle"
    );
}

/// Waits a little for answers, and never long for the server to read.
fn connect_hostile(address: &str) -> TcpStream {
    let stream = connect(address);
    stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    stream
}

/// Connections that each give a byte of a frame now and then.
fn trickle(address: [&str; 2], connections: u64, ended: &AtomicBool) {
    give_way();
    let bytes = fuzz::seeds("frame").swap_remove(0);
    let open = |number: u64| TcpStream::connect(address[usize::from(number % 2 == 1)]).ok();
    let mut streams: Vec<TcpStream> = (0..connections).filter_map(open).collect();
    assert_eq!(streams.len() as u64, connections, "slow connections");
    let portion = streams
        .len()
        .div_ceil(usize::try_from(TRICKLE_PORTIONS).unwrap())
        .max(1);
    for byte in bytes[1..].iter().cycle() {
        for some in streams.chunks_mut(portion) {
            for stream in some {
                // A server may have had enough of it.
                let _gone = stream.write(&[*byte]);
            }
            thread::sleep(TRICKLE / TRICKLE_PORTIONS);
            if ended.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Reads and throws away, as long as the test lives.
fn sink() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                give_way();
                io::copy(&mut stream, &mut io::sink())
            });
        }
    });
    address
}

/// Takes connections and never looks at them again: the kernel has room for what slow peers give.
fn deaf() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    address
}

/// What is sprayed in one turn, and how.
struct Spray {
    frames: u64,
    connections: u64,
    /// Of one sprayer, between what it writes in one go.
    pause: Duration,
}

impl Spray {
    /// What the honest client's sends took meanwhile.
    fn at(&self, frames_to: [&str; 2], trickle_to: [&str; 2], seed: u64, honest: &mut Honest) -> Vec<Duration> {
        let (left, ended) = (AtomicU64::new(self.frames), AtomicBool::new(false));
        thread::scope(|scope| {
            let sprayer = |number: u64| {
                let address = frames_to[usize::from(number % 2 == 1)];
                let left = &left;
                scope.spawn(move || Hostile::new(seed + number).spray(address, left, self.pause))
            };
            let sprayers: Vec<_> = (0..SPRAYERS).map(sprayer).collect();
            scope.spawn(|| trickle(trickle_to, self.connections, &ended));
            // Also when the honest client finds something wrong: a scope waits for its threads.
            let _end = Ends(&ended, &left);
            honest.work_until(|| sprayers.iter().all(thread::ScopedJoinHandle::is_finished))
        })
    }
}

/// Ends a turn when it goes.
struct Ends<'a>(&'a AtomicBool, &'a AtomicU64);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.store(0, Ordering::Relaxed);
    }
}

#[test]
fn hostile_frames_neither_kill_nor_stall_a_server_nor_lose_a_message_of_others() {
    let frames = number("RINGMQ_TEST_SPRAY_FRAMES", 20_000);
    let rounds = number("RINGMQ_TEST_SPRAY_ROUNDS", 1);
    let rate = number("RINGMQ_TEST_SPRAY_RATE", 0);
    let spray = Spray {
        frames: frames / rounds,
        connections: number("RINGMQ_TEST_SPRAY_CONNECTIONS", 200),
        pause: Duration::from_micros((1_000_000 * SPRAYERS * PIPELINED as u64).checked_div(rate).unwrap_or(0)),
    };
    // Sound frames under a send's code are stored: what is kept in memory of that has its own bound, which is not looked for here.
    let setup = Setup::new(FlushMode::Async)
        .line("tailCacheBytes=4194304")
        .line("coldCacheBytes=4194304");
    let mut servers = Separate::with(&setup);
    let addresses = [servers.ports.broker_address(), servers.ports.namesrv_address()];
    let (sink, deaf) = (sink(), deaf());
    warm_up(&addresses[0]);
    let mut honest = Honest::new(&addresses[0]);
    let before = servers.pids().map(|pid| resident_bytes(pid) / 1024);

    let (mut beside_control, mut beside_spray) = (Vec::new(), Vec::new());
    let start = Instant::now();
    for round in 0..rounds {
        let seed = 1 + round * SPRAYERS;
        beside_control.extend(spray.at([&sink; 2], [&deaf; 2], seed, &mut honest));
        let servers = [&*addresses[0], &*addresses[1]];
        beside_spray.extend(spray.at(servers, servers, seed, &mut honest));
    }
    println!(
        "{} hostile frames beside {} slow connections, and as many at a sink, in {rounds} turns and {:?}",
        spray.frames * rounds,
        spray.connections,
        start.elapsed()
    );
    report("the control", &mut beside_control);
    report("the spray", &mut beside_spray);
    honest.check_all();
    // Sound frames make topics, and those are kept as anybody's would be.
    let topics = honest.ask(RequestCode::GET_ALL_TOPIC_CONFIG, |_| {}, b"");
    let topics = String::from_utf8_lossy(topics.body()).matches("\"topicName\"").count();
    println!("{topics} topics by now");
    for (name, (pid, before)) in ["broker", "name server"]
        .iter()
        .zip(servers.pids().into_iter().zip(before))
    {
        let after = resident_bytes(pid) / 1024;
        println!("{name}: {before} KiB resident before, {after} KiB after");
        assert!(
            after <= before + GROWTH_MAX,
            "the {name} has grown from {before} to {after} KiB"
        );
    }
    // The name server, too, still answers those who ask properly.
    let mut asked = Honest::new(&addresses[1]);
    let answer = asked.ask(RequestCode::GET_BROKER_CLUSTER_INFO, |_| {}, b"");
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
    assert!(servers.stop_broker(), "the broker ends cleanly");
}
