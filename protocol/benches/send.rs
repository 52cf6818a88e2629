//! What one send costs in this crate: its header read, its properties unescaped, its answer written. `cargo bench -p protocol`.

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, criterion_group, criterion_main};
use protocol::field_name;
use protocol::frame::{Frame, Serialize, split_frame};
use protocol::header::send::SendHeader;
use protocol::header_writer::HeaderWriter;
use protocol::message::properties;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use std::hint::black_box;

/// As Java's client sends them: five properties, among them its unique id.
const PROPERTIES: &str = "KEYS\u{1}order-4711\u{2}UNIQ_KEY\u{1}7F00000100012A139A55000000000000\u{2}WAIT\u{1}true\u{2}TAGS\u{1}paid\u{2}region\u{1}north\u{2}";

fn send(serialize: Serialize) -> Bytes {
    let mut out = BytesMut::new();
    let mut header = HeaderWriter::request(&mut out, serialize, RequestCode::SEND_MESSAGE_V2, 4711, 0);
    for (name, value) in [
        ("a", "producers-of-orders"),
        ("b", "orders"),
        ("c", "TBW102"),
        ("d", "8"),
        ("e", "3"),
        ("f", "0"),
        ("g", "1764286000000"),
        ("h", "0"),
        ("i", PROPERTIES),
        ("j", "0"),
        ("k", "false"),
        ("m", "false"),
        ("n", "broker-a"),
    ] {
        header.put(name, value);
    }
    let body = [b'x'; 1024];
    assert!(header.finish(body.len()).is_ok(), "the header fits a frame");
    out.extend_from_slice(&body);
    out.freeze()
}

fn frame(bytes: &Bytes) -> Frame {
    let mut buffer = BytesMut::from(&bytes[..]);
    let split = split_frame(&mut buffer);
    assert!(matches!(split, Ok(Some(_))), "a whole frame lies here: {split:?}");
    split.ok().flatten().unwrap_or_else(|| unreachable!("checked above"))
}

fn read(criterion: &mut Criterion) {
    for serialize in [Serialize::Json, Serialize::Binary] {
        let bytes = send(serialize);
        criterion.bench_function(&format!("{serialize:?} frame split and scanned"), |bencher| {
            bencher.iter_batched(
                || BytesMut::from(&bytes[..]),
                |mut buffer| black_box(split_frame(&mut buffer)).is_ok(),
                criterion::BatchSize::SmallInput,
            );
        });
        let frame = frame(&bytes);
        criterion.bench_function(&format!("{serialize:?} send header decoded"), |bencher| {
            bencher.iter(|| SendHeader::decode(black_box(&frame).ext()).is_ok());
        });
        criterion.bench_function(&format!("{serialize:?} topic and queue found"), |bencher| {
            bencher.iter(|| {
                let mut found = 0;
                for (key, value) in black_box(&frame).ext().raw() {
                    if key.is("b") {
                        found += value.text().into_cow().len();
                    } else if key.is("e") {
                        found += usize::from(value.number::<i64>().is_some());
                        break;
                    }
                }
                found
            });
        });
        let mut text = String::new();
        criterion.bench_function(&format!("{serialize:?} properties read"), |bencher| {
            bencher.iter(|| {
                text.clear();
                if let Some(sent) = black_box(&frame).ext().get("i") {
                    sent.push_to(&mut text);
                }
                properties::iter(&text)
                    .map(|(name, value)| name.len() + value.len())
                    .sum::<usize>()
            });
        });
    }
}

fn write(criterion: &mut Criterion) {
    for serialize in [Serialize::Json, Serialize::Binary] {
        let mut out = BytesMut::with_capacity(4096);
        criterion.bench_function(&format!("{serialize:?} answer written"), |bencher| {
            bencher.iter(|| {
                out.clear();
                let mut header = HeaderWriter::response(&mut out, serialize, ResponseCode::SUCCESS, black_box(4711));
                header.put_named(field_name!("msgId"), "7F00000100002A9F0000000012345678");
                header.put_named_i64(field_name!("queueId"), 3);
                header.put_named_i64(field_name!("queueOffset"), 123_456_789);
                header.put_named(field_name!("transactionId"), "7F00000100012A139A55000000000000");
                header.put_named(field_name!("MSG_REGION"), "DefaultRegion");
                header.put_named_bool(field_name!("TRACE_ON"), true);
                header.finish(0).is_ok()
            });
        });
    }
}

criterion_group!(benches, read, write);
criterion_main!(benches);
