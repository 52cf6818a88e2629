//! What master and slave tell each other. Numbers are big-endian; every message but a batch itself ends with the CRC-32 of what is
//! before it, since a batch has its seal.
//!
//! ```text
//! hello, slave to master, 40 bytes
//!   0 magic "RQha" | 4 version u8 (3) | 5 kind u8 (0: only describe the store; 1: send batches; 2: send all metadata, then batches;
//!   3: only say whether the master's log is the same before the position) | 6 shard u8 | 7 zero
//!   8 store id u64 | 16 position u64 | 24 chain u32 | 28 broker id u32 | 32 the slave's own HA port u16 | 34 zero
//!   36 CRC
//! answer, master to slave, 44 bytes and a remark
//!   0 magic | 4 version u8 | 5 verdict u8 (0: welcome; 1: refused; 2: the logs differ) | 6 shards u8 | 7 zero | 8 store id u64 | 16 segment size u64 | 24 position u64
//!   32 chain u32 | 36 bytes of the remark u32 | 40 CRC
//! part, master to slave, 24 bytes and its content
//!   0 kind u8 (0: nothing, the line is alive; 1: batches; 2: a metadata record: kind u16, payload; 3: consumer offsets were taken over,
//!   up to those of this number u64; 4: the log goes on at position u64 after seal u32, what is before is lost) | 1 zero
//!   4 bytes of the content u32 | 8 confirm offset u64 | 16 zero u32 | 20 CRC
//! word, slave to master, 28 bytes and its content
//!   0 kind u8 (0: how far it is; 1: consumer offsets that it was told while its master was away) | 1 zero | 4 bytes of the content u32
//!   8 committed u64, or number of the offsets | 16 synced u64, or zero | 24 CRC; the content ends with a CRC of its own
//! ```
//!
//! Apache's slaves begin with an offset of 8 bytes, which no magic is.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use engine::{LogPosition, StoreIdentity};
use runtime::TcpStream;
use std::io::{self, IoSlice};

const MAGIC: u32 = u32::from_be_bytes(*b"RQha");
const VERSION: u8 = 3;
const HELLO_SIZE: usize = 40;
const ANSWER_SIZE: usize = 44;
const PART_SIZE: usize = 24;
const WORD_SIZE: usize = 28;
/// No record of consumer offsets is larger.
const OFFSETS_MAX: usize = 16 << 20;
/// No batch and no metadata record is larger: the engine's largest record, and as much again.
const CONTENT_MAX: usize = 128 << 20;
/// Longest remark in bytes.
const REMARK_MAX: usize = 4096;
/// Room made for reading at once.
const READ_SIZE: usize = 256 << 10;

/// What a slave wants of the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Purpose {
    /// To know which store it would copy.
    Describe = 0,
    /// To copy.
    Copy = 1,
    /// To copy, and all metadata first.
    CopyWithMetadata = 2,
    /// To know whether the log is the same before its position.
    Compare = 3,
}

/// What a slave asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) purpose: Purpose,
    pub(super) shard: u8,
    /// 0 for one that describes.
    pub(super) store_id: u64,
    /// Where its log ends.
    pub(super) end: LogPosition,
    pub(super) broker_id: u32,
    /// Where it serves its own log; 0 if it does not.
    pub(super) ha_port: u16,
}

/// What the master makes of a [`Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is described, or batches follow.
    Welcome,
    /// It cannot be had, and the remark says why.
    Refused,
    /// The logs differ before that place.
    Diverged,
}

/// The answer to a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    pub(super) store: StoreIdentity,
    /// From where batches follow.
    pub(super) begin: LogPosition,
    pub(super) remark: String,
}

/// What a master sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Alive,
    Batches(Bytes),
    Metadata {
        kind: u16,
        payload: Bytes,
    },
    /// Consumer offsets are in the master's log, up to those of this number.
    OffsetsTaken(u64),
    /// The log goes on there: the master has lost what is before.
    Hole(LogPosition),
}

/// What a slave sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Progress(Progress),
    /// Where consumers are that came here, as a record of the slave's own; the number grows by one each.
    Offsets {
        number: u64,
        payload: Bytes,
    },
}

/// How far a slave is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Up to here it has written and indexed the log.
    pub committed: u64,
    /// Up to here its disk has it.
    pub synced: u64,
}

/// A connection, with what has arrived and was not taken yet.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    arrived: BytesMut,
}

fn broken(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the other side is no master or slave of this version: {what}"),
    )
}

/// Puts the CRC of what was written since `from` behind it.
fn seal(out: &mut BytesMut, from: usize) {
    let crc = crc32fast::hash(out.get(from..).unwrap_or_default());
    out.put_u32(crc);
}

/// What is before the CRC of a message of fixed size, if the CRC is right.
fn unseal<'a>(bytes: &'a [u8], what: &str) -> io::Result<&'a [u8]> {
    let (content, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| broken(what))?;
    if crc32fast::hash(content) == u32::from_be_bytes(*crc) {
        Ok(content)
    } else {
        Err(broken(what))
    }
}

impl Line {
    pub(super) fn new(stream: TcpStream) -> Line {
        Line {
            stream,
            arrived: BytesMut::new(),
        }
    }

    /// Gives the connection to another core. Nothing may have arrived that was not taken.
    pub(super) fn detach(self) -> io::Result<runtime::Detached> {
        if self.arrived.is_empty() {
            self.stream.detach()
        } else {
            Err(broken("it sends before it is answered"))
        }
    }

    async fn take(&mut self, size: usize) -> io::Result<BytesMut> {
        take(&self.stream, &mut self.arrived, size).await
    }

    pub(super) async fn say_hello(&mut self, hello: &Hello) -> io::Result<Answer> {
        let mut out = BytesMut::with_capacity(HELLO_SIZE);
        out.put_u32(MAGIC);
        out.put_u8(VERSION);
        out.put_u8(hello.purpose as u8);
        out.put_u8(hello.shard);
        out.put_u8(0);
        out.put_u64(hello.store_id);
        out.put_u64(hello.end.position);
        out.put_u32(hello.end.chain);
        out.put_u32(hello.broker_id);
        out.put_u16(hello.ha_port);
        out.put_u16(0);
        seal(&mut out, 0);
        write_all(&self.stream, &[&out]).await?;
        self.hear_answer().await
    }

    pub(super) async fn hear_hello(&mut self) -> io::Result<Hello> {
        let bytes = self.take(HELLO_SIZE).await?;
        let mut content = unseal(&bytes, "its hello")?;
        let (magic, version, kind, shard) = (content.get_u32(), content.get_u8(), content.get_u8(), content.get_u8());
        content.advance(1);
        if magic != MAGIC || version != VERSION {
            return Err(broken("its hello"));
        }
        let purpose = match kind {
            0 => Purpose::Describe,
            1 => Purpose::Copy,
            2 => Purpose::CopyWithMetadata,
            3 => Purpose::Compare,
            _ => return Err(broken("its hello")),
        };
        Ok(Hello {
            purpose,
            shard,
            store_id: content.get_u64(),
            end: LogPosition {
                position: content.get_u64(),
                chain: content.get_u32(),
            },
            broker_id: content.get_u32(),
            ha_port: content.get_u16(),
        })
    }

    pub(super) async fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        let remark = answer.remark.as_bytes();
        let remark = remark.get(..REMARK_MAX).unwrap_or(remark);
        let mut out = BytesMut::with_capacity(ANSWER_SIZE);
        out.put_u32(MAGIC);
        out.put_u8(VERSION);
        out.put_u8(match answer.verdict {
            Verdict::Welcome => 0,
            Verdict::Refused => 1,
            Verdict::Diverged => 2,
        });
        out.put_u8(answer.store.shards);
        out.put_u8(0);
        out.put_u64(answer.store.store_id);
        out.put_u64(answer.store.segment_size);
        out.put_u64(answer.begin.position);
        out.put_u32(answer.begin.chain);
        // At most REMARK_MAX.
        out.put_u32(u32::try_from(remark.len()).unwrap_or(0));
        seal(&mut out, 0);
        write_all(&self.stream, &[&out, remark]).await
    }

    async fn hear_answer(&mut self) -> io::Result<Answer> {
        let bytes = self.take(ANSWER_SIZE).await?;
        let mut content = unseal(&bytes, "its answer")?;
        let (magic, version, verdict, shards) =
            (content.get_u32(), content.get_u8(), content.get_u8(), content.get_u8());
        content.advance(1);
        if magic != MAGIC || version != VERSION {
            return Err(broken("its answer"));
        }
        let verdict = match verdict {
            0 => Verdict::Welcome,
            1 => Verdict::Refused,
            2 => Verdict::Diverged,
            _ => return Err(broken("its answer")),
        };
        let (store_id, segment_size) = (content.get_u64(), content.get_u64());
        let begin = LogPosition {
            position: content.get_u64(),
            chain: content.get_u32(),
        };
        let length = usize::try_from(content.get_u32()).unwrap_or(usize::MAX);
        if length > REMARK_MAX {
            return Err(broken("its answer"));
        }
        let remark = self.take(length).await?;
        Ok(Answer {
            verdict,
            store: StoreIdentity {
                store_id,
                shards,
                segment_size,
            },
            begin,
            remark: String::from_utf8_lossy(&remark).into_owned(),
        })
    }

    /// Both directions, to be used at the same time.
    pub(super) fn split(&mut self) -> (Receiver<'_>, Sender<'_>) {
        let receiver = Receiver {
            stream: &self.stream,
            arrived: &mut self.arrived,
        };
        (receiver, Sender { stream: &self.stream })
    }
}

/// The direction towards us.
pub(super) struct Receiver<'a> {
    stream: &'a TcpStream,
    arrived: &'a mut BytesMut,
}

/// The direction away from us.
#[derive(Clone, Copy)]
pub(super) struct Sender<'a> {
    stream: &'a TcpStream,
}

impl Receiver<'_> {
    /// The next part of the log, and the master's confirm offset.
    pub(super) async fn part(&mut self) -> io::Result<(Part, u64)> {
        let bytes = take(self.stream, self.arrived, PART_SIZE).await?;
        let mut content = unseal(&bytes, "the head of a part")?;
        let kind = content.get_u8();
        content.advance(3);
        let length = usize::try_from(content.get_u32()).unwrap_or(usize::MAX);
        let confirmed = content.get_u64();
        if length > CONTENT_MAX {
            return Err(broken("the head of a part"));
        }
        let mut body = take(self.stream, self.arrived, length).await?;
        let part = match kind {
            0 if length == 0 => Part::Alive,
            1 => Part::Batches(body.freeze()),
            2 if length >= 2 => Part::Metadata {
                kind: body.get_u16(),
                payload: body.freeze(),
            },
            3 if length == 8 => Part::OffsetsTaken(body.get_u64()),
            4 if length == 12 => Part::Hole(LogPosition {
                position: body.get_u64(),
                chain: body.get_u32(),
            }),
            _ => return Err(broken("the head of a part")),
        };
        Ok((part, confirmed))
    }

    /// The next word of a slave.
    pub(super) async fn word(&mut self) -> io::Result<Word> {
        let bytes = take(self.stream, self.arrived, WORD_SIZE).await?;
        let mut content = unseal(&bytes, "the head of a word")?;
        let kind = content.get_u8();
        content.advance(3);
        let length = usize::try_from(content.get_u32()).unwrap_or(usize::MAX);
        let (first, second) = (content.get_u64(), content.get_u64());
        match kind {
            0 if length == 0 => Ok(Word::Progress(Progress {
                committed: first,
                synced: second,
            })),
            1 if length <= OFFSETS_MAX => {
                let body = take(self.stream, self.arrived, length).await?.freeze();
                let payload = unseal(&body, "its consumer offsets")?.len();
                Ok(Word::Offsets {
                    number: first,
                    payload: body.slice(..payload),
                })
            }
            _ => Err(broken("the head of a word")),
        }
    }
}

impl Sender<'_> {
    pub(super) async fn part(&self, part: &Part, confirmed: u64) -> io::Result<()> {
        let number;
        let chain;
        let (kind, head, body): (u8, &[u8], &[u8]) = match part {
            Part::Alive => (0, &[], &[]),
            Part::Batches(batches) => (1, &[], batches),
            Part::Metadata { kind, payload } => (2, &kind.to_be_bytes(), payload),
            Part::OffsetsTaken(up_to) => {
                number = up_to.to_be_bytes();
                (3, &number, &[])
            }
            Part::Hole(to) => {
                number = to.position.to_be_bytes();
                chain = to.chain.to_be_bytes();
                (4, &number, &chain)
            }
        };
        let length = u32::try_from(head.len() + body.len()).map_err(|_too_long| broken("a part of more than 4 GiB"))?;
        let mut out = BytesMut::with_capacity(PART_SIZE);
        out.put_u8(kind);
        out.put_bytes(0, 3);
        out.put_u32(length);
        out.put_u64(confirmed);
        out.put_u32(0);
        seal(&mut out, 0);
        write_all(self.stream, &[&out, head, body]).await
    }

    pub(super) async fn word(&self, word: &Word) -> io::Result<()> {
        let (kind, first, second, payload): (u8, u64, u64, &[u8]) = match word {
            Word::Progress(progress) => (0, progress.committed, progress.synced, &[]),
            Word::Offsets { number, payload } => (1, *number, 0, payload),
        };
        let mut content = BytesMut::new();
        if kind == 1 {
            content.put_slice(payload);
            seal(&mut content, 0);
        }
        let length = u32::try_from(content.len()).map_err(|_too_long| broken("offsets of more than 4 GiB"))?;
        let mut out = BytesMut::with_capacity(WORD_SIZE);
        out.put_u8(kind);
        out.put_bytes(0, 3);
        out.put_u32(length);
        out.put_u64(first);
        out.put_u64(second);
        seal(&mut out, 0);
        write_all(self.stream, &[&out, &content]).await
    }
}

async fn take(stream: &TcpStream, arrived: &mut BytesMut, size: usize) -> io::Result<BytesMut> {
    while arrived.len() < size {
        // A batch is read into memory of its own size: it is written to the disk, and kept for readers, as it came.
        arrived.reserve((size - arrived.len()).max(READ_SIZE));
        if stream.read(arrived).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(arrived.split_to(size))
}

pub(super) async fn write_all(stream: &TcpStream, parts: &[&[u8]]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    // Empty ones at the front are not taken away by an advance of 0 bytes alone.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match stream.try_write(rest) {
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::TcpListener;
    use runtime::probe::{IoPath, Refusal};

    const STORE: StoreIdentity = StoreIdentity {
        store_id: 0x1234,
        shards: 3,
        segment_size: 1 << 30,
    };

    fn run<T>(test: impl Future<Output = T>) -> T {
        runtime::core::run_here(&IoPath::Blocking(Refusal::Configured), test).unwrap()
    }

    async fn lines() -> (Line, Line) {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let slave = TcpStream::connect(listener.local_address().unwrap()).await.unwrap();
        let (master, _peer) = listener.accept().await.unwrap();
        (Line::new(slave), Line::new(master))
    }

    fn hello() -> Hello {
        Hello {
            purpose: Purpose::Copy,
            shard: 2,
            store_id: STORE.store_id,
            end: LogPosition {
                position: 77,
                chain: 0xdead_beef,
            },
            broker_id: 1,
            ha_port: 10_912,
        }
    }

    #[test]
    fn what_one_side_says_the_other_hears() {
        run(async {
            let (mut slave, mut master) = lines().await;
            let answer = Answer {
                verdict: Verdict::Refused,
                store: STORE,
                begin: hello().end,
                remark: "not so".to_owned(),
            };
            let heard = runtime::spawn({
                let answer = answer.clone();
                async move {
                    assert_eq!(master.hear_hello().await.unwrap(), hello());
                    master.answer(&answer).await.unwrap();
                    master
                }
            });
            assert_eq!(slave.say_hello(&hello()).await.unwrap(), answer);
            let mut master = heard.await.unwrap();
            let (mut from_master, to_master) = slave.split();
            let (mut from_slave, to_slave) = master.split();
            let parts = [
                Part::Alive,
                Part::Batches(Bytes::from(vec![7; 300_000])),
                Part::Batches(Bytes::new()),
                Part::Metadata {
                    kind: 0xfeff,
                    payload: Bytes::from_static(b"topic"),
                },
                Part::Metadata {
                    kind: 1,
                    payload: Bytes::new(),
                },
                Part::OffsetsTaken(u64::MAX - 1),
                Part::Hole(hello().end),
            ];
            let send = async {
                for part in &parts {
                    to_slave.part(part, 99).await.unwrap();
                }
                std::future::pending::<()>().await;
            };
            let hear = async {
                for part in &parts {
                    assert_eq!(from_master.part().await.unwrap(), (part.clone(), 99));
                }
            };
            runtime::sync::race(send, hear).await;
            let words = [
                Word::Progress(Progress {
                    committed: u64::MAX,
                    synced: 3,
                }),
                Word::Offsets {
                    number: 7,
                    payload: Bytes::from_static(b"where they are"),
                },
            ];
            for word in &words {
                to_master.word(word).await.unwrap();
                assert_eq!(from_slave.word().await.unwrap(), *word);
            }
        });
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_hello_and_any_rubbish_are_refused() {
        run(async {
            let mut sent = BytesMut::new();
            let (mut slave, master) = lines().await;
            let heard = runtime::spawn(async move {
                let mut arrived = BytesMut::new();
                take(&master.stream, &mut arrived, HELLO_SIZE).await.unwrap()
            });
            let _unanswered = runtime::timeout(std::time::Duration::from_millis(1), slave.say_hello(&hello())).await;
            sent.extend_from_slice(&heard.await.unwrap());
            for bit in 0..HELLO_SIZE * 8 {
                let (slave, mut master) = lines().await;
                let mut damaged = sent.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                write_all(&slave.stream, &[&damaged]).await.unwrap();
                assert!(master.hear_hello().await.is_err(), "bit {bit}");
            }
            // What a slave of Apache's begins with, and then leaves.
            let (slave, mut master) = lines().await;
            write_all(&slave.stream, &[&0_u64.to_be_bytes()]).await.unwrap();
            drop(slave);
            assert!(master.hear_hello().await.is_err());
        });
    }

    #[test]
    fn a_part_that_claims_to_be_huge_is_refused_before_it_is_waited_for() {
        run(async {
            let (mut slave, master) = lines().await;
            let mut out = BytesMut::new();
            out.put_u32(1 << 24);
            out.put_u32(u32::MAX);
            out.put_u64(0);
            out.put_u32(0);
            seal(&mut out, 0);
            write_all(&master.stream, &[&out]).await.unwrap();
            let (mut receiver, _) = slave.split();
            assert!(receiver.part().await.is_err());
        });
    }
}
