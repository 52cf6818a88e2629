//! Texts: properties of messages, tag expressions, configuration files, and the broker's own metadata.

use crate::choose;
use broker::config::{BrokerConfig, Machine, Sources};
use broker::consumer_offsets::OffsetsFile;
use broker::meta::Meta;
use protocol::body::subscription::{SubscriptionData, TagFilter};
use protocol::body::topic::TopicConfig;
use protocol::body::{from_slice, properties_text, to_java_json};
use protocol::message::properties;
use remoting::config_table::Settings;
use remoting::properties_file as file;
use std::path::Path;
use std::sync::LazyLock;

/// Properties of a message.
pub(crate) fn message_properties(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for (name, value) in properties::iter(&text) {
        assert!(
            properties::get(&text, name).is_some(),
            "{name}={value} is listed, but not there"
        );
    }
    properties::keys(&text).for_each(drop);
    let with = properties::with(&text, "KEYS", "a b");
    assert_eq!(properties::get(&with, "KEYS"), Some("a b"));
    assert_eq!(properties::keys(&with).collect::<Vec<_>>(), ["a", "b"]);
    let without = properties::without(&text, &["KEYS"]);
    assert_eq!(properties::get(&without, "KEYS"), None);
    let kept = |text: &str| {
        let others = properties::iter(text).filter(|(name, _)| *name != "KEYS");
        others
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(kept(&with), kept(&text));
    assert_eq!(kept(&without), kept(&text));
}

/// A tag expression.
pub(crate) fn tags(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let filter = TagFilter::of_expression(&text);
    let Ok(data) = SubscriptionData::of_tags("topic", &text) else {
        return;
    };
    let filter = filter.unwrap();
    let again: SubscriptionData = from_slice(&to_java_json(&data)).unwrap();
    assert_eq!(to_java_json(&again), to_java_json(&data));
    for hash in [0, 1, i64::from(i32::MIN), -1] {
        assert_eq!(
            filter.passes(hash),
            data.tag_filter().passes(hash),
            "tag hash {hash} of {text:?}"
        );
    }
}

/// A topic as a line of text, and Java properties as a name server's answer carries them.
pub(crate) fn topic_text(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let entries = properties_text::parse(&text);
    assert!(entries.is_sorted_by_key(|entry| entry.line));
    // As Java's, the writer escapes nothing, so not every value lasts; but every key stands in a line of its own.
    let written = properties_text::write(entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())));
    assert!(written.lines().count() >= entries.len());
    if let Some(topic) = TopicConfig::from_text(&text) {
        // A line holds name, numbers of queues, permission and filter type, parted by blanks.
        let line = topic.to_text();
        if let Some(again) = TopicConfig::from_text(&line) {
            assert_eq!(again.to_text(), line);
        }
    }
}

/// Text of a Java properties file.
pub(crate) fn properties_file(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(read) = file::parse(&text) else { return };
    let pairs = |read: &file::Properties| -> Vec<(String, String)> {
        let entries = read.entries.iter();
        entries.map(|entry| (entry.key.clone(), entry.value.clone())).collect()
    };
    let entries = pairs(&read);
    let written = file::to_text(entries.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    assert_eq!(pairs(&file::parse(&written).unwrap()), entries, "written: {written:?}");
    let key = entries.first().map_or("added", |(key, _)| key.as_str());
    let changed = file::with_value(&text, key, "new value").unwrap();
    let mut expected = entries.clone();
    match expected.iter_mut().rev().find(|(found, _)| found == key) {
        Some((_, value)) => "new value".clone_into(value),
        None => expected.push((key.to_owned(), "new value".to_owned())),
    }
    assert_eq!(pairs(&file::parse(&changed).unwrap()), expected, "changed: {changed:?}");
}

/// Settings that were read, written out and read again are the same.
fn check_settings(defaults: &Settings, text: &str) {
    let mut settings = defaults.clone();
    let _update = settings.check_update(text);
    if settings.read_file("fuzz.conf", text).is_err() {
        return;
    }
    let shown = settings.to_text();
    let mut again = defaults.clone();
    // Secrets are shown as stars, which is what is read again.
    if again.read_file("shown.conf", &shown).is_ok() {
        assert_eq!(again.to_text(), shown);
    }
}

/// A broker.conf, and a change of it from afar.
pub(crate) fn broker_config(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    check_settings(&broker::config::table().defaults(), &text);
    let sources = |file| Sources {
        file: Some((Path::new("fuzz.conf"), file)),
        options: &[],
        machine: machine(),
    };
    let config = match BrokerConfig::load(&sources(input)) {
        Ok((config, _findings)) => config,
        Err(_) => BrokerConfig::load(&sources(b"")).unwrap().0,
    };
    if let Ok(updated) = config.update(&text) {
        let _changed_since = updated.write_back(&text);
    }
}

fn machine() -> &'static Machine {
    static MACHINE: LazyLock<Machine> = LazyLock::new(|| Machine {
        cpus: 2,
        host_name: "host".into(),
        home: "/home".into(),
        address: Some([10, 0, 0, 1].into()),
        namesrv_addr: None,
        rocketmq_home: None,
    });
    &MACHINE
}

/// A namesrv.conf, and a change of it from afar.
pub(crate) fn name_server_config(input: &[u8]) {
    check_settings(&namesrv::config::TABLE.defaults(), &String::from_utf8_lossy(input));
}

/// consumerOffset.json.
pub(crate) fn consumer_offsets(input: &[u8]) {
    let Ok(read) = OffsetsFile::parse(input) else { return };
    let (taken, refused) = read.offsets();
    let listed: usize = read.offset_table.values().map(|queues| queues.len().max(1)).sum();
    assert!(taken.len() + refused.len() <= listed);
    assert_eq!(OffsetsFile::parse(&read.to_text()).unwrap(), read);
}

/// A metadata record: kind, payload.
pub(crate) fn metadata(input: &[u8]) {
    let Some((kind, payload)) = choose(input, 10) else {
        return;
    };
    let kind = u16::try_from(kind).unwrap();
    let Ok(read) = Meta::decode(kind, payload) else { return };
    let mut written = Vec::new();
    assert_eq!(read.encode(&mut written), kind);
    let again = Meta::decode(kind, &written).unwrap_or_else(|error| panic!("{error}: {read:?}"));
    assert_eq!(again, read);
}
