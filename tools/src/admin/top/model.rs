//! What the cluster says, look by look. Rates come from the difference between two looks, so they are of now.

use super::state::{State, View};
use crate::admin::consumer::diff;
use crate::admin::context::{Context, ask_all};
use crate::admin::error::Error;
use client::{PullConsumer, PullOptions, ReceivedMessage, RouteQueue};
use protocol::body::offset::OffsetWrapper;
use protocol::body::queue::WireQueue;
use runtime::Instant;
use std::collections::BTreeMap;

/// Newest messages of a topic that are shown.
const TAIL: usize = 200;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Broker {
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) id: i64,
    pub(super) address: String,
    /// Figures by name; none if it does not answer.
    pub(super) figures: BTreeMap<String, String>,
    pub(super) failure: Option<String>,
    pub(super) in_rate: f64,
    pub(super) out_rate: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) queues: usize,
    pub(super) messages: i64,
    pub(super) end: i64,
    pub(super) in_rate: f64,
    pub(super) updated_ms: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) topics: usize,
    pub(super) lag: i64,
    pub(super) consumed: i64,
    pub(super) rate: f64,
    pub(super) queues: Vec<(WireQueue, OffsetWrapper)>,
}

/// The last look, and what is needed of the one before.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) brokers: Vec<Broker>,
    pub(super) topics: Vec<Topic>,
    pub(super) groups: Vec<Group>,
    pub(super) tail: Vec<(RouteQueue, ReceivedMessage)>,
    /// Why the cluster could not be asked.
    pub(super) failure: Option<String>,
    pub(super) asked_ms: i64,
    /// Counters by kind and name, and when they were read.
    counters: BTreeMap<(char, String), (Instant, i64)>,
}

impl Model {
    pub(super) fn is_empty(&self) -> bool {
        self.asked_ms == 0
    }

    /// Messages a second since the last look; what is known otherwise for the first.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn rate(&mut self, kind: char, name: &str, count: i64, otherwise: f64) -> f64 {
        let now = Instant::now();
        let before = self.counters.insert((kind, name.to_owned()), (now, count));
        match before {
            Some((when, before)) if when.elapsed().as_secs_f64() > 0.05 => {
                count.saturating_sub(before).max(0) as f64 / when.elapsed().as_secs_f64()
            }
            _ => otherwise,
        }
    }

    /// Asks what the view needs.
    pub(super) async fn ask(&mut self, context: &Context, state: &State) {
        self.failure = None;
        if let Err(error) = self.look(context, state).await {
            self.failure = error.to_string().lines().next().map(str::to_owned);
        }
        self.asked_ms = runtime::wall_clock_ms();
    }

    async fn look(&mut self, context: &Context, state: &State) -> Result<(), Error> {
        let info = context.admin.cluster_info().await?;
        let mut places = Vec::new();
        for data in info.broker_addr_table.values() {
            for (id, address) in &data.broker_addrs {
                places.push((data.cluster.clone(), data.broker_name.clone(), *id, address.clone()));
            }
        }
        let addresses: Vec<String> = places.iter().map(|place| place.3.clone()).collect();
        let said = ask_all(addresses, |address| {
            let admin = context.admin.clone();
            async move { Ok(admin.runtime_info(&address).await?) }
        })
        .await;
        let mut brokers = Vec::new();
        for ((cluster, name, id, address), said) in places.into_iter().zip(said) {
            let failure = said
                .as_ref()
                .err()
                .and_then(|error| error.to_string().lines().next().map(str::to_owned));
            let figures = said.unwrap_or_default();
            let number = |key: &str| figures.get(key).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
            let told = |key: &str| {
                let text = figures.get(key).map_or("", String::as_str);
                text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0)
            };
            let (puts, gets) = (number("msgPutTotalTodayNow"), number("msgGetTotalTodayNow"));
            let in_rate = self.rate('p', &address, puts, told("putTps"));
            let out_rate = self.rate('g', &address, gets, told("getTransferredTps"));
            brokers.push(Broker {
                cluster,
                name,
                id,
                address,
                failure,
                in_rate,
                out_rate,
                figures,
            });
        }
        self.brokers = brokers;
        match state.view {
            View::Groups | View::Queues => self.look_at_groups(context).await,
            View::Topics | View::Tail => self.look_at_topics(context).await,
            View::Brokers => Ok(()),
        }
    }

    fn masters(&self) -> Vec<String> {
        let masters = self
            .brokers
            .iter()
            .filter(|broker| broker.id == 0 && broker.failure.is_none());
        masters.map(|broker| broker.address.clone()).collect()
    }

    async fn look_at_groups(&mut self, context: &Context) -> Result<(), Error> {
        let lists = ask_all(self.masters(), |master| {
            let admin = context.admin.clone();
            async move { Ok(admin.broker_consume_stats(&master, false).await?) }
        })
        .await;
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        let mut told: BTreeMap<String, f64> = BTreeMap::new();
        for list in lists {
            for (name, topics) in list?.consume_stats_list.into_iter().flatten() {
                let group = groups.entry(name.clone()).or_default();
                group.topics = group.topics.max(topics.len());
                for stats in topics {
                    *told.entry(name.clone()).or_default() += stats.consume_tps;
                    for (queue, offset) in stats.offset_table {
                        group.lag = group.lag.saturating_add(diff(&offset));
                        group.consumed = group.consumed.saturating_add(offset.consumer_offset);
                        group.queues.push((queue, offset));
                    }
                }
            }
        }
        self.groups = Vec::new();
        for (name, mut group) in groups {
            group.rate = self.rate('c', &name, group.consumed, told.get(&name).copied().unwrap_or(0.0));
            group.queues.sort_by(|one, other| one.0.cmp(&other.0));
            group.name = name;
            self.groups.push(group);
        }
        Ok(())
    }

    async fn look_at_topics(&mut self, context: &Context) -> Result<(), Error> {
        let configs = ask_all(self.masters(), |master| {
            let admin = context.admin.clone();
            async move {
                let topics = admin.all_topic_config(&master).await?.topic_config_table;
                Ok((master, topics))
            }
        })
        .await;
        let mut asked = Vec::new();
        for answer in configs {
            let (master, topics) = answer?;
            asked.extend(topics.into_keys().map(|topic| (master.clone(), topic)));
        }
        let stats = ask_all(asked, |(master, topic)| {
            let admin = context.admin.clone();
            async move {
                let stats = admin.topic_stats(&master, &topic).await?;
                Ok((topic, stats))
            }
        })
        .await;
        let mut topics: BTreeMap<String, Topic> = BTreeMap::new();
        for (name, stats) in stats.into_iter().flatten() {
            let topic = topics.entry(name).or_default();
            topic.in_rate += stats.topic_put_tps;
            for offset in stats.offset_table.values() {
                topic.queues += 1;
                topic.messages = topic.messages.saturating_add(offset.max_offset - offset.min_offset);
                topic.end = topic.end.saturating_add(offset.max_offset);
                topic.updated_ms = topic.updated_ms.max(offset.last_update_timestamp);
            }
        }
        self.topics = Vec::new();
        for (name, mut topic) in topics {
            topic.in_rate = self.rate('t', &name, topic.end, topic.in_rate);
            topic.name = name;
            self.topics.push(topic);
        }
        Ok(())
    }

    /// Asks what depends on the user's choice: the newest messages of a topic.
    pub(super) async fn ask_chosen(&mut self, context: &Context, state: &State) {
        let (View::Tail, Some(topic)) = (state.view, &state.topic) else {
            return;
        };
        match newest(context, topic).await {
            Ok(tail) => self.tail = tail,
            Err(error) => self.failure = error.to_string().lines().next().map(str::to_owned),
        }
    }

    pub(super) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }
}

/// The newest messages of a topic, the newest first.
async fn newest(context: &Context, topic: &str) -> Result<Vec<(RouteQueue, ReceivedMessage)>, Error> {
    let consumer = PullConsumer::new(&context.client, "TOOLS_CONSUMER");
    let queues = consumer.queues(topic).await?;
    let each = (TAIL / queues.len().max(1)).clamp(1, 32);
    let each = i32::try_from(each).unwrap_or(1);
    let found = ask_all(queues, |queue| {
        let consumer = consumer.clone();
        async move {
            let (min, max) = (consumer.min_offset(&queue).await?, consumer.max_offset(&queue).await?);
            if max <= min {
                return Ok(Vec::new());
            }
            let options = PullOptions {
                max: each,
                ..PullOptions::default()
            };
            let result = consumer.pull(&queue, min.max(max - i64::from(each)), &options).await?;
            let messages = result.messages().map_err(client::Error::from)?;
            Ok(messages.into_iter().map(|message| (queue.clone(), message)).collect())
        }
    })
    .await;
    let mut all = Vec::new();
    for messages in found {
        all.extend(messages?);
    }
    all.sort_by_key(|(_queue, message)| std::cmp::Reverse(message.store_timestamp));
    all.truncate(TAIL);
    Ok(all)
}
