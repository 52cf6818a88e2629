//! Hostile frames over real sockets against the real servers, while an honest client sends and reads.
//!
//! Nothing of the honest client's is lost, no answer stays away, both servers live and grow by no more than 64 MiB. Figures are
//! printed: the honest client's latency before and under the spray, and the servers' growth. `RINGMQ_TEST_SPRAY_FRAMES` and `RINGMQ_TEST_SPRAY_CONNECTIONS`
//! set the number of frames and of slow connections; `RINGMQ_TEST_SPRAY_RATE` the frames a second, without which attackers
//! take all of the machine that they can get, and latency is that of the scheduler.
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
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::harness::{FlushMode, Separate, Setup, resident_bytes};

const TOPIC: &str = "honest";
const SPRAYERS: u64 = 4;
/// Longer than any answer to an honest client may take; a stall is what this test is there to find.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// What a server may grow by, in KiB.
const GROWTH_MAX: u64 = 64 << 10;
/// A slow connection gives a byte each time: slow enough that what it costs is a place, and not the processor.
const TRICKLE: Duration = Duration::from_millis(250);
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
    latencies: Vec<Duration>,
    sent: u64,
}

impl Honest {
    fn new(address: &str) -> Honest {
        let stream = connect(address);
        stream.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
        Honest {
            stream,
            arrived: BytesMut::new(),
            latencies: Vec::new(),
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
            let count = self.stream.read(&mut part).expect("an honest client is answered");
            assert!(count > 0, "the server hung up on an honest client");
            self.arrived.extend_from_slice(&part[..count]);
        }
    }

    fn send(&mut self) {
        let start = Instant::now();
        let body = self.sent.to_be_bytes();
        let fields = |writer: &mut HeaderWriter<'_>| {
            writer.put("producerGroup", "honest");
            writer.put("topic", TOPIC);
            writer.put("defaultTopic", "TBW102");
            writer.put_i64("defaultTopicQueueNums", 1);
            writer.put_i64("queueId", 0);
            writer.put_i64("sysFlag", 0);
            writer.put_i64("bornTimestamp", 1);
            writer.put_i64("flag", 0);
            writer.put("properties", "");
        };
        let answer = self.ask(RequestCode::SEND_MESSAGE, fields, &body);
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{:?}", answer.remark());
        self.sent += 1;
        self.latencies.push(start.elapsed());
    }

    /// The numbers that the queue holds from an offset on, and the next offset.
    fn pull(&mut self, from: u64) -> (Vec<u64>, u64) {
        let fields = |writer: &mut HeaderWriter<'_>| {
            writer.put("consumerGroup", "honest");
            writer.put("topic", TOPIC);
            writer.put_i64("queueId", 0);
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
            .map(|record| u64::from_be_bytes(record.unwrap().body.try_into().unwrap()))
            .collect();
        let next = from + numbers.len() as u64;
        (numbers, next)
    }

    fn work_until(&mut self, done: impl Fn() -> bool) {
        self.latencies.clear();
        let mut read = self.sent;
        while !done() {
            self.send();
            if self.sent - read == 32 {
                let (numbers, next) = self.pull(read);
                assert_eq!(numbers, (read..next).collect::<Vec<_>>());
                read = next;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn report(&mut self, when: &str) -> Duration {
        self.latencies.sort();
        let at = |per_mille: usize| self.latencies[(self.latencies.len() - 1) * per_mille / 1000];
        println!(
            "honest sends {when}: {} p50 {:?} p99 {:?} max {:?}",
            self.latencies.len(),
            at(500),
            at(990),
            at(1000)
        );
        at(1000)
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
        // Attackers have machines of their own; here they are not to take the processor from the server.
        rustix::process::setpriority_process(None, 19).expect("a thread may give way");
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

/// Waits a little for answers, and never long for the server to read.
fn connect_hostile(address: &str) -> TcpStream {
    let stream = connect(address);
    stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    stream
}

/// Connections that each give a byte of a frame now and then.
fn trickle(addresses: &[String], connections: u64, ended: &AtomicBool) {
    let bytes = fuzz::seeds("frame").swap_remove(0);
    let open = |number: u64| {
        let address = &addresses[usize::try_from(number).unwrap() % addresses.len()];
        TcpStream::connect(address).ok()
    };
    let mut streams: Vec<TcpStream> = (0..connections).filter_map(open).collect();
    println!("{} slow connections", streams.len());
    for byte in bytes[1..].iter().cycle() {
        for stream in &mut streams {
            if ended.load(Ordering::Relaxed) {
                return;
            }
            // A server may have had enough of it.
            let _gone = stream.write(&[*byte]);
        }
        thread::sleep(TRICKLE);
    }
}

#[test]
fn hostile_frames_neither_kill_nor_stall_a_server_nor_lose_a_message_of_others() {
    let frames = number("RINGMQ_TEST_SPRAY_FRAMES", 20_000);
    let connections = number("RINGMQ_TEST_SPRAY_CONNECTIONS", 200);
    let rate = number("RINGMQ_TEST_SPRAY_RATE", 0);
    // Of one sprayer, between what it writes in one go.
    let pause = Duration::from_micros((1_000_000 * SPRAYERS * PIPELINED as u64).checked_div(rate).unwrap_or(0));
    // Sound frames under a send's code are stored: what is kept in memory of that has its own bound, which is not looked for here.
    let setup = Setup::new(FlushMode::Async)
        .line("tailCacheBytes=4194304")
        .line("coldCacheBytes=4194304");
    let mut servers = Separate::with(&setup);
    let addresses = [servers.ports.broker_address(), servers.ports.namesrv_address()];
    let mut honest = Honest::new(&addresses[0]);
    let start = Instant::now();
    honest.work_until(|| start.elapsed() > Duration::from_secs(2));
    honest.report("before");
    let before = servers.pids().map(|pid| resident_bytes(pid) / 1024);

    let (left, ended) = (AtomicU64::new(frames), AtomicBool::new(false));
    let start = Instant::now();
    thread::scope(|scope| {
        let sprayers: Vec<_> = (0..SPRAYERS)
            .map(|number| {
                let address = &addresses[usize::try_from(number % 2).unwrap()];
                let left = &left;
                scope.spawn(move || Hostile::new(number + 1).spray(address, left, pause))
            })
            .collect();
        scope.spawn(|| trickle(&addresses, connections, &ended));
        honest.work_until(|| sprayers.iter().all(thread::ScopedJoinHandle::is_finished));
        ended.store(true, Ordering::Relaxed);
    });
    println!("{frames} hostile frames in {:?}", start.elapsed());
    honest.report("during");
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
