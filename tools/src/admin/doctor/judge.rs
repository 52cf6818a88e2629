//! What is wrong, by what was answered.

use super::look::{Broker, Group, Seen};
use super::{Finding, Limits, error, warning};
use protocol::body::route::ClusterInfo;
use protocol::message::sys_flag::perm;
use protocol::model::names::{DLQ_PREFIX, RETRY_PREFIX, is_system_topic};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn judge(seen: &Seen, limits: &Limits) -> Vec<Finding> {
    let mut findings = name_servers(seen);
    for broker in &seen.brokers {
        findings.extend(of_broker(broker, limits));
    }
    findings.extend(broker_groups(seen, limits));
    findings.extend(topics(seen));
    findings.extend(consumer_groups(seen, limits));
    findings
}

fn name_servers(seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut first: Option<(&str, (&ClusterInfo, &BTreeSet<String>))> = None;
    for server in &seen.name_servers {
        let about = format!("name server {}", server.address);
        let said = match &server.said {
            Ok(said) => said,
            Err(failure) => {
                let fix = "start it, or leave it out of namesrvAddr of brokers and clients";
                findings.push(error(about, first_line(failure), fix));
                continue;
            }
        };
        if said.0.broker_addr_table.is_empty() {
            let fix = "start a broker with -n or namesrvAddr that names this name server";
            findings.push(error(about, "no broker is registered", fix));
            continue;
        }
        let Some((other, (info, topics))) = first else {
            first = Some((&server.address, (&said.0, &said.1)));
            continue;
        };
        let brokers = |info: &ClusterInfo| -> BTreeSet<String> {
            let all = info.broker_addr_table.values();
            all.flat_map(|data| data.broker_addrs.values().cloned()).collect()
        };
        let (here, there) = (brokers(&said.0), brokers(info));
        let fix = "name all name servers in namesrvAddr of every broker; they do not tell each other";
        if here != there {
            let only: Vec<&String> = here.symmetric_difference(&there).collect();
            let cause = format!("it and {other} know different brokers: {only:?} is with one of them alone");
            findings.push(error(about, cause, fix));
        } else if said.1 != *topics {
            let only: Vec<&String> = said.1.symmetric_difference(topics).take(5).collect();
            let cause = format!("it and {other} know different topics, such as {only:?}");
            findings.push(warning(about, cause, fix));
        }
    }
    findings
}

fn first_line(failure: &crate::admin::error::Error) -> String {
    failure.to_string().lines().next().unwrap_or_default().to_owned()
}

fn name_of(broker: &Broker) -> String {
    let role = if broker.id == 0 {
        "master".to_owned()
    } else {
        format!("slave {}", broker.id)
    };
    format!("{} {role} {}", broker.name, broker.address)
}

fn of_broker(broker: &Broker, limits: &Limits) -> Vec<Finding> {
    let about = name_of(broker);
    let said = match &broker.said {
        Ok(said) => said,
        Err(failure) => {
            let fix = "see that it runs and that clients reach the address that it registers: brokerIP1 and listenPort in its file";
            return vec![error(about, first_line(failure), fix)];
        }
    };
    let mut findings = Vec::new();
    let text = |name: &str| said.figures.get(name).map_or("", String::as_str);
    for (name, reason) in said.figures.iter().filter(|(name, _)| name.ends_with("Fenced")) {
        let fix = "its disk failed a write or a sync: mend the disk, look at its log, start it again";
        findings.push(error(&about, format!("{name}: {reason}; it takes no messages"), fix));
    }
    if text("brokerActive") == "false" {
        findings.push(error(
            &about,
            "it says that it is not active",
            "look at its log for the reason",
        ));
    }
    if let Ok(ratio) = text("commitLogDiskRatio").parse::<f64>()
        && ratio * 100.0 >= f64::from(limits.disk)
    {
        let fix = "give it a larger disk, or keep messages for less long: fileReservedTime";
        let cause = format!("the disk of its commitlog is {:.0}% full", ratio * 100.0);
        findings.push(if ratio >= 0.9 {
            error(&about, cause, fix)
        } else {
            warning(&about, cause, fix)
        });
    }
    if let Ok(lost @ 1..) = text("lostMessages").parse::<u64>() {
        let fix = "`mqstore verify STORE` says where; a slave of it may have them whole";
        findings.push(error(
            &about,
            format!("{lost} messages could not be read: they are damaged on its disk"),
            fix,
        ));
    }
    let permission = said
        .config
        .get("brokerPermission")
        .and_then(|text| text.parse::<i32>().ok());
    if let Some(permission) = permission
        && permission & (perm::READ | perm::WRITE) != perm::READ | perm::WRITE
    {
        let what = if permission & perm::WRITE == 0 {
            "written"
        } else {
            "read"
        };
        let fix = format!(
            "`mqadmin updateBrokerConfig -b {} -k brokerPermission -v 6`",
            broker.address
        );
        findings.push(warning(
            &about,
            format!("brokerPermission={permission}: it cannot be {what}"),
            fix,
        ));
    }
    if let Some(apart) = clock_difference(&said.figures, broker.asked_ms)
        && apart.abs() > limits.clock.max(1_000)
    {
        let fix = "let NTP or chrony run on both: times in messages, delays and retention go by the broker's clock";
        let direction = if apart > 0 { "ahead of" } else { "behind" };
        findings.push(warning(
            &about,
            format!("its clock is {} ms {direction} this machine's", apart.abs()),
            fix,
        ));
    }
    findings
}

/// How far a broker's clock is ahead, to the second that it tells its age by.
fn clock_difference(figures: &BTreeMap<String, String>, asked_ms: i64) -> Option<i64> {
    let boot: i64 = figures.get("bootTimestamp")?.parse().ok()?;
    let numbers: Vec<i64> = figures
        .get("runtime")?
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|text| text.parse().ok())
        .collect();
    let [days, hours, minutes, seconds] = numbers[..] else {
        return None;
    };
    let age_ms = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000;
    // Half a second more: the age is cut to whole ones.
    Some(boot + age_ms + 500 - asked_ms)
}

/// Master and slaves of each broker group.
fn broker_groups(seen: &Seen, limits: &Limits) -> Vec<Finding> {
    let mut groups: BTreeMap<&str, Vec<&Broker>> = BTreeMap::new();
    for broker in &seen.brokers {
        groups.entry(&broker.name).or_default().push(broker);
    }
    let mut findings = Vec::new();
    for (name, members) in groups {
        let Some(master) = members.iter().find(|broker| broker.id == 0) else {
            let fix = "start its master (brokerId=0): until then nobody sends to it, and no slave takes over by itself";
            findings.push(error(format!("broker group {name}"), "it has no master", fix));
            continue;
        };
        let Ok(of_master) = &master.said else { continue };
        for slave in members.iter().filter(|broker| broker.id != 0) {
            let Ok(of_slave) = &slave.said else { continue };
            let behind = bytes_behind(&of_master.figures, &of_slave.figures);
            if behind > limits.slave_lag {
                let fix = "look at the slave's log: it says why it does not copy, or its disk or network is too slow";
                findings.push(error(
                    name_of(slave),
                    format!("it is {behind} bytes behind its master"),
                    fix,
                ));
            }
        }
    }
    findings
}

/// Bytes of the logs that a slave has not: shard by shard where brokers tell of shards.
fn bytes_behind(master: &BTreeMap<String, String>, slave: &BTreeMap<String, String>) -> i64 {
    let ends = |figures: &BTreeMap<String, String>| -> BTreeMap<String, i64> {
        let shards = figures
            .iter()
            .filter(|(name, _)| name.starts_with("shard") && name.ends_with("CommitLogMaxOffset"));
        let shards: BTreeMap<_, _> = shards
            .filter_map(|(name, text)| Some((name.clone(), text.parse().ok()?)))
            .collect();
        if !shards.is_empty() {
            return shards;
        }
        let whole = figures.get("commitLogMaxOffset").and_then(|text| text.parse().ok());
        whole.map(|end| (String::new(), end)).into_iter().collect()
    };
    let of_slave = ends(slave);
    let missing = ends(master)
        .into_iter()
        .map(|(shard, end)| end - of_slave.get(&shard).copied().unwrap_or(0));
    missing.map(|bytes| bytes.max(0)).fold(0, i64::saturating_add)
}

/// Topics that not every master of their cluster has.
fn topics(seen: &Seen) -> Vec<Finding> {
    let is_own =
        |topic: &str| topic.starts_with(RETRY_PREFIX) || topic.starts_with(DLQ_PREFIX) || is_system_topic(topic);
    let mut clusters: BTreeMap<&str, Vec<&Broker>> = BTreeMap::new();
    for broker in seen
        .brokers
        .iter()
        .filter(|broker| broker.id == 0 && broker.said.is_ok())
    {
        clusters.entry(&broker.cluster).or_default().push(broker);
    }
    let mut findings = Vec::new();
    for (cluster, masters) in clusters {
        let mut by_topic: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for master in &masters {
            for (topic, config) in master.said.iter().flat_map(|said| &said.topics) {
                if config.write_queue_nums > 0 {
                    by_topic.entry(topic).or_default().insert(&master.name);
                }
            }
        }
        let names: BTreeSet<&str> = masters.iter().map(|master| master.name.as_str()).collect();
        // Brokers have topics of their own names.
        let is_user = |topic: &str| !is_own(topic) && !names.contains(topic) && !topic.starts_with(cluster);
        for (topic, have_it) in by_topic.iter().filter(|(topic, _)| is_user(topic)) {
            if have_it.len() < names.len() {
                let without: Vec<_> = names.difference(have_it).copied().collect();
                let cause = format!("it has no queues on {}, so its load is not shared", without.join(", "));
                let fix = format!("`mqadmin updateTopic -c {cluster} -t {topic}` makes it on every master");
                findings.push(warning(format!("topic {topic}"), cause, fix));
            }
        }
    }
    findings
}

fn consumer_groups(seen: &Seen, limits: &Limits) -> Vec<Finding> {
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for said in seen.brokers.iter().filter_map(|broker| broker.said.as_ref().ok()) {
        for (name, part) in &said.groups {
            let group = groups.entry(name).or_default();
            group.lag = group.lag.saturating_add(part.lag);
            group.topics.extend(part.topics.iter().cloned());
            group.subscriptions.extend(part.subscriptions.clone());
            group.connection = group.connection.take().or_else(|| part.connection.clone());
        }
    }
    let mut findings = Vec::new();
    for (name, group) in groups {
        let about = format!("consumer group {name}");
        let topics = group.topics.iter().cloned().collect::<Vec<_>>().join(", ");
        let is_online = group
            .connection
            .as_ref()
            .is_some_and(|connection| !connection.connection_set.is_empty());
        if group.lag > 0 && !is_online {
            let cause = format!("it is {} messages behind ({topics}) and has no consumer", group.lag);
            let fix = format!(
                "start a consumer, or `mqadmin deleteSubGroup -c CLUSTER -g {name} -r true` if it is not needed any more"
            );
            findings.push(warning(about.as_str(), cause, fix));
        } else if group.lag > limits.lag {
            let cause = format!("it is {} messages behind ({topics})", group.lag);
            let fix = format!(
                "`mqadmin consumerProgress -g {name} -s true` shows which queue and client; more consumers, up to the number of queues, or faster ones"
            );
            findings.push(warning(about.as_str(), cause, fix));
        }
        let different: BTreeSet<_> = group.subscriptions.values().collect();
        if different.len() > 1 {
            let clients: Vec<_> = group.subscriptions.keys().cloned().collect();
            let cause = format!(
                "its clients subscribe to different topics or tags, so messages get lost between them: {}",
                clients.join(", ")
            );
            let fix = "let all clients of a group subscribe to the same, or give them groups of their own";
            findings.push(error(about.as_str(), cause, fix));
        }
    }
    findings
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
