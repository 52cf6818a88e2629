//! The reference of all keys as Markdown: `mqbroker --config-reference`, docs/config.md.

use super::{broker_keys, dead_keys, network_keys, store_keys, used_keys};
use remoting::config_table::{Key, Status};
use std::fmt::Write as _;

const HEAD: &str = "\
# Configuration of the broker

`mqbroker -c FILE` reads a properties file with RocketMQ's keys. A value comes from the command line (`-n`), else the file,
else the environment (`NAMESRV_ADDR`), else the default. Blanks around a value are dropped; of a key that comes twice the last
one holds. `mqbroker -c FILE --check` says what is wrong with a file and with the machine, and starts nothing; `-p` prints
every key with the value that holds, `-m` the important ones.

A key that is not listed here stops the start, and so does a value that is not of its key's kind: both are named with file,
line and the nearest known key. A key that changes nothing is accepted with a line that says what holds instead, so a file
written for RocketMQ loads. A key that would promise what is not built yet is accepted at its default only.

Memory is bounded. Each shard holds at most tailCacheBytes + coldCacheBytes + 16 MiB of queue pages, 64 MiB of messages that wait
for their group commit and 64 MiB of index pages that wait for the disk; beyond that sends are answered SYSTEM_BUSY with the name
of what is used up. A client may have 1024 requests under way and 64 MiB of answers that it has not taken; then nothing more is read
from it, or it is closed. Requests above 64 KiB that are not whole yet take 64 MiB a core; who holds room for more than ten seconds while
others wait for it is closed. A core holds 65,536 pulls. The broker says the sum in one line when it starts. Tables grow with topics, queues
and groups; the kernel's page cache is not counted.

This page is made by `mqbroker --config-reference`.
";

/// The page.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## Keys that do something\n\nA star marks what `mqadmin updateBrokerConfig` may change while the broker runs.\n");
    table(&mut page, "What it does", used_keys::USED);
    page.push_str("\n## Keys that must keep their default\n\nAny other value stops the start.\n");
    for keys in [
        broker_keys::REFUSED,
        store_keys::REFUSED,
        network_keys::REFUSED,
        network_keys::AUTH_REFUSED,
        dead_keys::REFUSED,
    ] {
        table(&mut page, "Why", keys);
    }
    page.push_str("\n## Keys that change nothing\n\nTheir values are checked, and shown by `-p`.\n");
    for (title, keys) in [
        ("Broker", broker_keys::ACCEPTED),
        ("Store", store_keys::ACCEPTED),
        ("Network", network_keys::ACCEPTED),
        ("Access control", network_keys::AUTH_ACCEPTED),
        ("Keys of old tutorials", dead_keys::DEAD),
    ] {
        // Writing to a string cannot fail.
        let _written = write!(page, "\n### {title}\n");
        grouped(&mut page, keys);
    }
    page
}

fn table(page: &mut String, heading: &str, keys: &[Key]) {
    let _written = write!(page, "\n| Key | Values | Default | {heading} |\n|---|---|---|---|\n");
    for key in keys {
        let star = if key.updatable { " \\*" } else { "" };
        let text = match key.status {
            Status::Used => key.help,
            Status::Accepted(text) | Status::RefusedUnlessDefault(text) => text,
        };
        let _written = writeln!(
            page,
            "| `{}`{star} | {} | {} | {} |",
            key.name,
            cell(&key.kind.to_string()),
            default_text(key),
            cell(text.trim())
        );
    }
}

/// Keys that have the same line stand together.
fn grouped(page: &mut String, keys: &[Key]) {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for key in keys {
        let (Status::Accepted(text) | Status::RefusedUnlessDefault(text)) = key.status else {
            continue;
        };
        let shown = match key.default {
            "" => format!("`{}`", key.name),
            default => format!("`{}={default}`", key.name),
        };
        match groups.iter_mut().find(|(known, _keys)| *known == text) {
            Some((_text, members)) => members.push(shown),
            None => groups.push((text, vec![shown])),
        }
    }
    for (text, members) in groups {
        let _written = write!(page, "\n- {text}\n  {}\n", members.join(", "));
    }
}

/// What a default is when the table leaves it to the machine or to another key.
fn default_text(key: &Key) -> String {
    let computed = match key.name {
        "brokerName" => "the host's name",
        "brokerIP1" => "the address of the default route",
        "brokerIP2" => "brokerIP1",
        "haListenPort" => "listenPort + 1",
        "storePathRootDir" => "`~/store`",
        "storePathCommitLog" => "in storePathRootDir",
        "brokerConfigPath" => "the file of `-c`",
        _ if key.default.is_empty() => "not set",
        _ => return format!("`{}`", key.default),
    };
    debug_assert!(matches!(key.default, "" | "0"), "{} has a default of its own", key.name);
    computed.to_owned()
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
