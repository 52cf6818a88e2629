//! Traces that clients with message trace switched on have sent: who sent a message, and who consumed it how.
//!
//! A trace message's body is entries parted by character 2, their fields by character 1; its keys are the ids of the messages it
//! tells of.

use super::context::Context;
use super::error::Error;
use super::message_query::find;
use super::message_text::body;
use super::registry::{Entry, Run};
use super::time_text::local;
use clap::Args;
use client::{KeyQuery, ReceivedMessage};
use protocol::message::properties::{NAME_VALUE_SEPARATOR, PROPERTY_SEPARATOR};
use protocol::model::names::TRACE_TOPIC;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;

pub(super) const COMMANDS: &[Entry] = &[Entry::new::<QueryMsgTraceById>(
    ("queryMsgTraceById", "message trace"),
    "Who sent a message and who consumed it, by the traces that clients have sent",
    &[
        "-i 7F0000010B4C6D06D69C1A2B3C4D0000",
        "-i 7F0000010B4C6D06D69C1A2B3C4D0000 -t my_trace_topic -o json",
    ],
)];

#[derive(Debug, Args)]
pub(super) struct QueryMsgTraceById {
    /// The unique id of the message
    #[arg(short = 'i', long = "msgId", value_name = "ID")]
    id: String,
    /// The topic that traces are sent to
    #[arg(short = 't', long = "traceTopic", value_name = "TOPIC", default_value = TRACE_TOPIC)]
    topic: String,
    /// Stored at this time or later, milliseconds since 1970
    #[arg(short = 'b', long = "beginTimestamp", value_name = "MS", default_value_t = 0)]
    begin: i64,
    /// Stored at this time or earlier, milliseconds since 1970
    #[arg(short = 'e', long = "endTimestamp", value_name = "MS", default_value_t = i64::MAX, hide_default_value = true)]
    end: i64,
    /// Trace messages at most
    #[arg(short = 'c', long = "maxNum", value_name = "N", default_value_t = 64)]
    max: i32,
}

/// One thing that a client says it has done with the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    /// `Pub` or `Sub`.
    kind: &'static str,
    group: String,
    client_host: String,
    /// Milliseconds since 1970.
    timestamp: i64,
    cost_ms: i64,
    status: &'static str,
}

impl Run for QueryMsgTraceById {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let id = self.id.trim();
        let query = KeyQuery {
            topic: self.topic.trim().to_owned(),
            key: id.to_owned(),
            by_unique_id: false,
            max: self.max,
            begin: self.begin,
            end: self.end,
        };
        let found = find(context, &query).await?;
        let steps: Vec<Step> = found.iter().flat_map(|message| steps_of(id, message)).collect();
        if context.wants_document() {
            return context.document(out, &steps);
        }
        let (sent, consumed): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.kind == "Pub");
        for step in sent {
            heading(context, "#ProducerGroup", "#SendTime", out)?;
            line(&step, out)?;
            writeln!(out)?;
        }
        let mut by_group: BTreeMap<String, Vec<Step>> = BTreeMap::new();
        for step in consumed {
            by_group.entry(step.group.clone()).or_default().push(step);
        }
        for steps in by_group.into_values() {
            heading(context, "#ConsumerGroup", "#ConsumerTime", out)?;
            for step in steps {
                line(&step, out)?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

fn heading(context: &Context, group: &str, time: &str, out: &mut dyn Write) -> Result<(), Error> {
    let (host, cost) = ("#ClientHost", "#CostTimes");
    Ok(heading!(
        context,
        out,
        "{:<10} {group:<20} {host:<20} {time:<20} {cost:<10} #Status",
        "#Type"
    )?)
}

fn line(step: &Step, out: &mut dyn Write) -> Result<(), Error> {
    let (kind, group, host, status) = (step.kind, &step.group, &step.client_host, step.status);
    let (time, cost) = (local(step.timestamp), format!("{}ms", step.cost_ms));
    Ok(writeln!(
        out,
        "{kind:<10} {group:<20} {host:<20} {time:<20} {cost:<10} {status}"
    )?)
}

/// What a trace message says of the message with that id.
fn steps_of(id: &str, message: &ReceivedMessage) -> Vec<Step> {
    let host = message.born_host.ip().to_string();
    let text = body(message);
    let entries = text.split(PROPERTY_SEPARATOR);
    entries.filter_map(|entry| step_of(id, entry, &host)).collect()
}

fn step_of(id: &str, entry: &str, born_host: &str) -> Option<Step> {
    let fields: Vec<&str> = entry.split(NAME_VALUE_SEPARATOR).collect();
    let field = |number: usize| fields.get(number).copied().unwrap_or_default();
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    let status = |text: &str| if text == "true" { "success" } else { "failed" };
    match field(0) {
        "Pub" if field(5) == id => {
            // Older clients say whether it went well where newer ones say where it is stored.
            let is_sent = if fields.len() == 13 { field(12) } else { field(13) };
            Some(Step {
                kind: "Pub",
                group: field(3).to_owned(),
                client_host: if field(14).is_empty() { born_host } else { field(14) }.to_owned(),
                timestamp: number(field(1)),
                cost_ms: number(field(10)),
                status: status(is_sent),
            })
        }
        "SubAfter" if field(2) == id => Some(Step {
            kind: "Sub",
            group: field(8).to_owned(),
            client_host: born_host.to_owned(),
            timestamp: number(field(7)),
            cost_ms: number(field(3)),
            status: status(field(4)),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_javas_clients_write_is_read_and_other_messages_are_left_out() {
        let sent = [
            "Pub", "17", "region", "PG", "T", "ID", "tag", "key", "h:1", "3", "5", "0", "OFF", "true", "1.2.3.4",
        ];
        let step = step_of("ID", &sent.join("\u{1}"), "9.9.9.9").unwrap();
        assert_eq!(
            (step.kind, step.group.as_str(), step.client_host.as_str()),
            ("Pub", "PG", "1.2.3.4")
        );
        assert_eq!((step.timestamp, step.cost_ms, step.status), (17, 5, "success"));
        let consumed = ["SubAfter", "REQ", "ID", "7", "false", "key", "1", "23", "CG"];
        let step = step_of("ID", &consumed.join("\u{1}"), "9.9.9.9").unwrap();
        assert_eq!(
            (step.group.as_str(), step.timestamp, step.cost_ms, step.status),
            ("CG", 23, 7, "failed")
        );
        assert_eq!(step_of("OTHER", &consumed.join("\u{1}"), ""), None);
        assert_eq!(step_of("ID", "Pub\u{1}x", ""), None);
    }
}
