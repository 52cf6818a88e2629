//! Fuzz targets: every decoder of bytes from outside, and what must hold whatever the bytes are.
//!
//! A target is a function of bytes that panics when a claim does not hold. The same functions run three ways: over the corpora of
//! `corpus/` and bounded broken copies of them in `cargo test` (`tests/corpus.rs`), under libFuzzer with coverage by
//! `cargo xtask fuzz`, and one input at a time to replay a find.
//!
//! Claims beside "no panic": what is read, written and read again is the same; what arrives in parts reads as what arrives at
//! once; a store that opened serves nothing that its own decoders refuse, takes a message, and opens again with the same contents.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a claim that does not hold ends a target by a panic"
)]

#[expect(dead_code, reason = "the golden tests read more of it")]
#[path = "../../protocol/tests/common/golden_data.rs"]
mod golden_data;
mod mutate;
mod recovery;
mod seeds;
mod server;
mod store_files;
mod text;
mod wire;

pub use mutate::Random;
pub use seeds::seeds;

/// A function of bytes, and what it is called.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name on the command line and of the folder under `corpus/`.
    pub name: &'static str,
    /// Panics if a claim does not hold for these bytes.
    pub run: fn(&[u8]),
    /// Most bytes of an input that are worth trying.
    pub input_max: usize,
    /// How much of a number of inputs for all targets it takes, beside the others: an input that needs a simulated world costs
    /// as much as a thousand that do not.
    pub share: u32,
}

const SHARE_OF_A_WORLD: u32 = 1;
/// All keys of a broker, read, written and read again, with a hint for each that is misspelt.
const SHARE_OF_SETTINGS: u32 = 50;

const fn target(name: &'static str, run: fn(&[u8]), input_max: usize) -> Target {
    Target {
        name,
        run,
        input_max,
        share: 1000,
    }
}

const fn world(name: &'static str, run: fn(&[u8]), input_max: usize) -> Target {
    Target {
        share: SHARE_OF_A_WORLD,
        ..target(name, run, input_max)
    }
}

impl Target {
    /// Whether each input builds a simulated world.
    #[must_use]
    pub fn is_world(&self) -> bool {
        self.share == SHARE_OF_A_WORLD
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("frame", wire::frame, 2048),
    target("header", wire::header, 1024),
    target("json", wire::json, 2048),
    target("body", wire::body, 2048),
    target("registration", wire::registration, 2048),
    target("record", wire::record, 2048),
    target("batch", wire::batch, 1024),
    target("message_id", wire::message_id, 128),
    target("properties", text::message_properties, 512),
    target("tags", text::tags, 512),
    target("topic_text", text::topic_text, 512),
    target("properties_file", text::properties_file, 1024),
    Target {
        share: SHARE_OF_SETTINGS,
        ..target("broker_config", text::broker_config, 1024)
    },
    target("name_server_config", text::name_server_config, 1024),
    target("consumer_offsets", text::consumer_offsets, 1024),
    target("metadata", text::metadata, 1024),
    target("store_file", store_files::store_file, 8192),
    world("recovery", recovery::recovery, 4096),
    world("connection", server::connection, 4096),
];

/// The target of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Takes the first byte as a choice among `count`.
fn choose(bytes: &[u8], count: usize) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    Some((usize::from(*first) % count, rest))
}
