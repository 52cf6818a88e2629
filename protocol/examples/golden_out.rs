//! Writes golden data again by our own types, for Apache's classes to read: `golden_out DIR`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a program for tests fails by a panic")]

use std::fs;
use std::path::Path;

use bytes::BytesMut;
use golden_data::{copy_body, copy_frame, copy_offset_id, copy_record, from_hex, header_frames, only_frame, to_hex};
use protocol::frame::Serialize;
use protocol::message::batch::{BatchItems, put_item};
use protocol::message::record::RecordView;

#[expect(dead_code, reason = "the tests read more of it")]
#[path = "../tests/common/golden_data.rs"]
mod golden_data;

fn main() {
    let directory = std::env::args().nth(1).expect("usage: golden_out DIR");
    let directory = Path::new(&directory);
    fs::create_dir_all(directory).unwrap();
    let write = |name: &str, lines: Vec<String>| fs::write(directory.join(name), lines.join("\n") + "\n").unwrap();

    let frames = header_frames().map(|(class, serialize, bytes)| {
        let form = if serialize == Serialize::Json {
            "JSON"
        } else {
            "ROCKETMQ"
        };
        format!("{class} {form} {}", to_hex(&copy_frame(class, &only_frame(&bytes))))
    });
    write("header_frames.txt", frames.collect());

    let bodies = golden_data::bodies().filter_map(|(class, json)| {
        let copy = copy_body(class, json.as_bytes())?.unwrap_or_else(|error| panic!("{class}: {error}"));
        Some(format!("{class} {}", String::from_utf8(copy).unwrap()))
    });
    write("bodies.txt", bodies.collect());

    let records = golden_data::RECORDS.lines().map(|line| {
        let (fields, record) = line.rsplit_once(' ').unwrap();
        format!(
            "{fields} {}",
            to_hex(&copy_record(&RecordView::decode(&from_hex(record)).unwrap()))
        )
    });
    write("records.txt", records.collect());

    let mut batch = BytesMut::new();
    let theirs = from_hex(golden_data::BATCH.trim());
    BatchItems::new(&theirs).for_each(|item| put_item(&mut batch, &item.unwrap()).unwrap());
    write("batch.txt", vec![to_hex(&batch)]);

    let ids = golden_data::IDS
        .lines()
        .filter(|line| line.starts_with("offset"))
        .map(|line| {
            let (fields, id) = line.rsplit_once(' ').unwrap();
            format!("{fields} {}", copy_offset_id(id))
        });
    write("ids.txt", ids.collect());
}
