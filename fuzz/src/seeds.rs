//! What the corpora begin with: sound bytes, made by Apache's classes where they are Apache's formats.

use crate::golden_data::{self, BODY_CLASSES, HEADER_CLASSES, from_hex};
use crate::recovery;
use broker::meta::{DelayProgress, Meta};
use protocol::frame::Serialize;

/// Sound inputs of a target.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "frame" | "connection" => frames(),
        "header" => headers(),
        "json" => golden_data::bodies().map(|(_, json)| json.as_bytes().to_vec()).collect(),
        "body" => bodies(),
        "registration" => registrations(),
        "record" => records(),
        "batch" => vec![from_hex(golden_data::BATCH.trim())],
        "message_id" => golden_data::IDS
            .lines()
            .map(|line| line.rsplit(' ').next().unwrap().as_bytes().to_vec())
            .collect(),
        "properties" => vec![b"KEYS\x01a b\x02TAGS\x01t\x02UNIQ_KEY\x017F\x02".to_vec()],
        "tags" => vec![b"*".to_vec(), b"a || b||c".to_vec(), b"".to_vec()],
        "topic_text" => lines(include_bytes!("../../tests/golden/data/topic_config.txt")),
        "properties_file" => vec![
            b"# a comment\nkey = value \\\n  more\nother:\\u0041\\tb\n<!-- x\n-->\nlast=1".to_vec(),
            b"\xef\xbb\xbfa=b\r\n! c\rd e".to_vec(),
        ],
        "broker_config" => vec![
            b"brokerClusterName=C\nbrokerName=b\nbrokerId=0\nlistenPort=10911\nflushDiskType=ASYNC_FLUSH\ndeleteWhen=04\n".to_vec(),
            b"messageDelayLevel=1s 5s 1h\nmaxMessageSize=4194304\ndiskMaxUsedSpaceRatio=88\nautoCreateTopicEnable=false\n".to_vec(),
        ],
        "name_server_config" => vec![b"listenPort=9876\nscanNotActiveBrokerInterval=5000\n".to_vec()],
        "consumer_offsets" => vec![b"{\"dataVersion\":{\"counter\":1},\"offsetTable\":{\"t@g\":{0:5,1:7}}}".to_vec()],
        "metadata" => metadata(),
        "store_file" => store_files(),
        "recovery" => recoveries(),
        _ => Vec::new(),
    }
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn with_choice(choice: usize, bytes: &[u8]) -> Vec<u8> {
    let mut input = vec![u8::try_from(choice).unwrap()];
    input.extend_from_slice(bytes);
    input
}

fn frames() -> Vec<Vec<u8>> {
    golden_data::header_frames()
        .enumerate()
        .map(|(number, (_, _, frame))| with_choice(number % 64, &frame))
        .collect()
}

fn headers() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for (class, form, frame) in golden_data::header_frames() {
        let Some(class) = HEADER_CLASSES.iter().position(|known| *known == class) else {
            continue;
        };
        // Between the two lengths and the body `body`.
        let header = &frame[8..frame.len() - 4];
        inputs.push(with_choice(
            class,
            &with_choice(usize::from(form == Serialize::Binary), header),
        ));
    }
    inputs
}

fn bodies() -> Vec<Vec<u8>> {
    let known = |class: &str| BODY_CLASSES.iter().position(|known| *known == class);
    golden_data::bodies()
        .filter_map(|(class, json)| Some(with_choice(known(class)?, json.as_bytes())))
        .collect()
}

fn registrations() -> Vec<Vec<u8>> {
    let mut golden = include_str!("../../tests/golden/data/register_compressed.txt").lines();
    let (json, packed) = (golden.next().unwrap(), from_hex(golden.next().unwrap()));
    let mut inflated = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::ZlibDecoder::new(&packed[..]), &mut inflated).unwrap();
    vec![
        with_choice(0, json.as_bytes()),
        with_choice(2, &packed),
        with_choice(4, &inflated),
        with_choice(5, &inflated),
    ]
}

fn records() -> Vec<Vec<u8>> {
    golden_data::RECORDS
        .lines()
        .map(|line| with_choice(1, &from_hex(line.rsplit(' ').next().unwrap())))
        .collect()
}

fn metadata() -> Vec<Vec<u8>> {
    let levels = vec![DelayProgress {
        delay_level: 3,
        queue_offset: 7,
    }];
    let mut payload = Vec::new();
    let kind = Meta::DelayProgress(levels).encode(&mut payload);
    vec![with_choice(usize::from(kind), &payload)]
}

/// Each file of a sound store as what it is.
fn store_files() -> Vec<Vec<u8>> {
    let mut inputs = vec![with_choice(1, &recovery::sound_log())];
    for (path, bytes) in recovery::sound_files() {
        let name = path.to_string_lossy();
        let kind = match () {
            () if name.ends_with("checkpoint") => 1,
            () if name.contains("consumequeue") && name.ends_with(".dir") => 3,
            () if name.contains("consumequeue") && name.contains("manifest") => 2,
            () if name.contains("consumequeue") => 4,
            () if name.contains("index") && name.contains("manifest") => 5,
            () if name.contains("index") => 6,
            () if name.ends_with("store.json") => 7,
            () => continue,
        };
        inputs.push(with_choice(kind * 2, bytes));
        inputs.push(with_choice(kind * 2 + 1, bytes));
    }
    inputs
}

fn recoveries() -> Vec<Vec<u8>> {
    let log = recovery::sound_log();
    vec![
        with_choice(1, &log),
        with_choice(3, &log),
        with_choice(0, &[0, 0, 20, 0, 0xff, 1, 0, 9, 2, 1]),
        with_choice(2, &[0, 1, 20, 0, 0xff, 0, 2, 200, 1, 0x80]),
    ]
}
