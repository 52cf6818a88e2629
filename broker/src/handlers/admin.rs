//! Running a broker: its figures, its configuration, upkeep on demand. On core 0.

use crate::control::Control;
use crate::core::Core;
use crate::error::Error;
use crate::handlers::{Answer, Outcome};
use crate::replication::apache::VERSION_KEY;
use crate::request::Request;
use crate::settings::Settings;
use crate::stats::StatName;
use crate::table_files::DelayOffsetsFile;
use engine::ShardStats;
use protocol::body::json::to_java_json;
use protocol::body::stats::{BrokerStatsData, BrokerStatsItem, KvTable};
use protocol::body::topic::TopicList;
use protocol::header::Header;
use protocol::header::admin::{GetBrokerConfigResponse, ViewBrokerStatsDataRequest};
use protocol::model::PhysicalOffset;
use protocol::version::Version;
use runtime::Instant;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

/// GET_BROKER_RUNTIME_INFO: every figure that RocketMQ's tools read.
pub async fn runtime_info(core: Rc<Core>, _request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    gather_stats(&core, &control).await;
    let now_ms = runtime::wall_clock_ms();
    let mut table: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in control.stats.borrow().runtime_info(now_ms) {
        table.insert(key.to_owned(), value);
    }
    put_store_figures(&core, &mut table).await;
    put_delay_figures(&core, &mut table).await;
    super::ha::put_figures(&core, &mut table).await;
    let settings = core.settings();
    put(
        &mut table,
        "startAcceptSendRequestTimeStamp",
        settings.config.start_accept_send_request_time_stamp,
    );
    put(&mut table, "brokerActive", true);
    put(&mut table, "brokerVersionDesc", Version::CURRENT_NAME);
    put(&mut table, "brokerVersion", Version::CURRENT.0);
    put(&mut table, VERSION_KEY, env!("CARGO_PKG_VERSION"));
    for pool in ["send", "pull", "litePull", "query", "ack"] {
        // There are no thread pools: a request waits in no queue before it is served.
        put(&mut table, &format!("{pool}ThreadPoolQueueSize"), 0);
        put(&mut table, &format!("{pool}ThreadPoolQueueCapacity"), 0);
        put(&mut table, &format!("{pool}ThreadPoolQueueHeadWaitTimeMills"), 0);
    }
    put(&mut table, "EndTransactionQueueSize", 0);
    put(&mut table, "EndTransactionThreadPoolQueueCapacity", 0);
    for timer in ["timerReadBehind", "timerOffsetBehind", "timerCongestNum"] {
        put(&mut table, timer, 0);
    }
    for timer in ["timerEnqueueTps", "timerDequeueTps"] {
        put(&mut table, timer, "0.0");
    }
    Ok(Answer::body(to_java_json(&KvTable { table })))
}

fn put(table: &mut BTreeMap<String, String>, key: &str, value: impl ToString) {
    table.insert(key.to_owned(), value.to_string());
}

/// What one core says of its shards.
struct CoreFigures {
    shards: Vec<(u8, ShardStats)>,
    /// Messages that readers have met and could not read.
    lost: u64,
    earliest_ms: Option<i64>,
    connections: usize,
}

async fn put_store_figures(core: &Rc<Core>, table: &mut BTreeMap<String, String>) {
    let figures = core
        .ask_all(|core| async move {
            let mut earliest_ms: Option<i64> = None;
            let mut shards = Vec::new();
            for shard in core.own_shards() {
                if let Ok(Some(time)) = shard.engine.earliest_store_time().await {
                    earliest_ms = Some(earliest_ms.map_or(time, |before| before.min(time)));
                }
                shards.push((shard.id.get(), shard.engine.stats()));
            }
            CoreFigures {
                lost: core.own_shards().map(|shard| shard.lost.count()).sum(),
                shards,
                earliest_ms,
                connections: core.connections.count(),
            }
        })
        .await;
    let shards: Vec<&(u8, ShardStats)> = figures.iter().flat_map(|core| &core.shards).collect();
    let sum = |of: fn(&ShardStats) -> u64| shards.iter().map(|(_shard, stats)| of(stats)).sum::<u64>();
    let earliest = figures.iter().filter_map(|core| core.earliest_ms).min().unwrap_or(-1);
    put(table, "earliestMessageTimeStamp", earliest);
    put(table, "commitLogMinOffset", sum(|stats| stats.min));
    put(table, "commitLogMaxOffset", sum(|stats| stats.end));
    put(table, "dispatchBehindBytes", sum(|stats| stats.dispatch_behind));
    put(table, "dispatchMaxBuffer", 0);
    put(
        table,
        "remainHowManyDataToCommit",
        sum(|stats| stats.end.saturating_sub(stats.written)),
    );
    put(
        table,
        "remainHowManyDataToFlush",
        sum(|stats| stats.end.saturating_sub(stats.flushed)),
    );
    put(table, "remainTransientStoreBufferNumbs", i32::MAX);
    let slowest = shards
        .iter()
        .map(|(_shard, stats)| stats.commit_time_max_recent)
        .max()
        .unwrap_or_default();
    put(table, "pageCacheLockTimeMills", slowest.as_millis());
    put(
        table,
        "connections",
        figures.iter().map(|core| core.connections).sum::<usize>(),
    );
    put(table, "lostMessages", figures.iter().map(|core| core.lost).sum::<u64>());
    for (shard, stats) in &shards {
        let place = |position: u64| {
            protocol::model::ShardId::new(*shard).map_or(0, |shard| PhysicalOffset::new(shard, position).to_wire())
        };
        put(table, &format!("shard{shard}CommitLogMinOffset"), place(stats.min));
        put(table, &format!("shard{shard}CommitLogMaxOffset"), place(stats.end));
        if let Some(reason) = &stats.fenced {
            put(table, &format!("shard{shard}Fenced"), reason);
        }
    }
    put_disk_figures(core, table).await;
}

async fn put_disk_figures(core: &Core, table: &mut BTreeMap<String, String>) {
    let config = core.settings().config.clone();
    let directory: PathBuf = config
        .commitlog_directory()
        .unwrap_or_else(|| config.store_path_root_dir.clone());
    match runtime::file::disk_space(&directory).await {
        Ok(space) => {
            let ratio = space.used_ratio();
            put(table, "commitLogDiskRatio", format!("{ratio:?}"));
            put(
                table,
                &format!("commitLogDiskRatio_{}", directory.display()),
                format!("{ratio:?}"),
            );
            put(table, "consumeQueueDiskRatio", format!("{ratio:?}"));
            let (total, free) = (readable(space.total), readable(space.available));
            put(
                table,
                "commitLogDirCapacity",
                format!("Total : {total}, Free : {free}."),
            );
        }
        Err(error) => tracing::warn!(directory = %directory.display(), %error, "cannot ask for the disk's space"),
    }
}

/// Bytes with a unit, as Apache's tools show them.
fn readable(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2} {}", UNITS.get(unit).copied().unwrap_or_default())
}

async fn put_delay_figures(core: &Rc<Core>, table: &mut BTreeMap<String, String>) {
    let levels = core
        .ask_all(|core| async move { crate::delayed_messages::figures(&core) })
        .await;
    for (level, progress, max) in levels.into_iter().flatten() {
        put(
            table,
            &format!("scheduleMessageOffset_{level}"),
            format!("{progress},{max}"),
        );
    }
}

/// Takes over what every core has counted since the last time. Says whether there was anything.
pub async fn gather_stats(core: &Rc<Core>, control: &Control) -> bool {
    let deltas = core.ask_all(|core| async move { core.stats.take() }).await;
    let mut stats = control.stats.borrow_mut();
    let now = Instant::now();
    let mut counted = false;
    for delta in deltas.iter().filter(|delta| !delta.is_empty()) {
        stats.add(delta, now);
        counted = true;
    }
    counted
}

/// Samples the statistics for ever: once a second, and less and less often while nothing is counted.
pub async fn sample_stats(core: Rc<Core>, control: Rc<Control>) {
    let mut pace = crate::stats::SamplingPace::default();
    loop {
        runtime::sleep(pace.pause()).await;
        pace.sampled(gather_stats(&core, &control).await);
        control
            .stats
            .borrow_mut()
            .sample(Instant::now(), runtime::wall_clock_ms());
    }
}

/// VIEW_BROKER_STATS_DATA: one item over the last minute, hour and day.
pub async fn stats_data(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let header = ViewBrokerStatsDataRequest::decode(request.frame.ext())?;
    gather_stats(&core, &control).await;
    let name = StatName::from_name(&header.stats_name);
    let windows = name.and_then(|name| control.stats.borrow().windows(name, &header.stats_key));
    let windows = windows.ok_or_else(|| {
        Error::System(format!(
            "The stats <{}> <{}> not exist",
            header.stats_name, header.stats_key
        ))
    })?;
    let item = |window: &crate::stats::items::Window| BrokerStatsItem {
        avgpt: window.avgpt,
        sum: i64::try_from(window.sum).unwrap_or(i64::MAX),
        tps: window.tps,
    };
    let body = BrokerStatsData {
        stats_day: item(&windows.day),
        stats_hour: item(&windows.hour),
        stats_minute: item(&windows.minute),
    };
    Ok(Answer::body(to_java_json(&body)))
}

/// GET_BROKER_CONFIG: every key with its value, as a properties file.
pub async fn get_config(core: Rc<Core>, _request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let version = String::from_utf8_lossy(&to_java_json(&control.topics.borrow().version())).into_owned();
    let text = core.settings().config.effective_text();
    Ok(Answer::header(GetBrokerConfigResponse { version }).with_parts(vec![text.into_bytes().into()]))
}

/// UPDATE_BROKER_CONFIG: changes keys that may change while the broker runs, here and in the file it was started with.
pub async fn update_config(core: Rc<Core>, request: Rc<Request>) -> Outcome {
    let text = std::str::from_utf8(request.frame.body()).map_err(|error| Error::Body {
        request: "UPDATE_BROKER_CONFIG",
        cause: error.to_string(),
    })?;
    let before = core.settings();
    let updated = before
        .config
        .update(text)
        .map_err(|error| Error::NoPermission(error.to_string()))?;
    if let Some(path) = &before.config.broker_config_path {
        let file = runtime::file::read(path)
            .await
            .map_err(|error| Error::store("reading the configuration file", &error))?;
        let file = String::from_utf8_lossy(&file).into_owned();
        let changed = updated
            .write_back(&file)
            .map_err(|error| Error::System(error.to_string()))?;
        let replaced = runtime::file::replace(path, changed.into_bytes()).await;
        replaced.map_err(|error| Error::store("writing the configuration file", &error))?;
    }
    for (key, value) in &updated.changes {
        tracing::info!(key, value, peer = %request.origin.peer, "the configuration was changed");
    }
    let settings = Arc::new(Settings::new(updated.config).map_err(Error::System)?);
    for other in 0..core.map.cores() {
        let settings = Arc::clone(&settings);
        core.run_on(other, move |core| {
            let retention = crate::plan::retention(&settings.config);
            for shard in core.own_shards() {
                shard.engine.set_retention(retention.clone());
                let config = &settings.config;
                shard
                    .engine
                    .set_limits(crate::plan::limit_in_memory(config), crate::plan::limit_on_disk(config));
            }
            if let Some(control) = core.control() {
                control.set_settings(&settings);
            }
            core.set_settings(&settings);
        });
    }
    Ok(Answer::done())
}

/// GET_SYSTEM_TOPIC_LIST_FROM_BROKER.
pub async fn system_topics(core: Rc<Core>, _request: Rc<Request>) -> Outcome {
    let control = super::control_of(&core)?;
    let topics = control.topics.borrow();
    let names = topics
        .iter()
        .map(|topic| topic.topic_name.clone())
        .filter(|topic| topics.is_system(topic));
    let list = TopicList {
        broker_addr: Some(core.settings().store_host.to_string()),
        topic_list: names.collect(),
    };
    Ok(Answer::body(to_java_json(&list)))
}

/// CLEAN_EXPIRED_CONSUMEQUEUE and DELETE_EXPIRED_COMMITLOG: what is past its time goes now.
pub async fn clean_expired(core: Rc<Core>, _request: Rc<Request>) -> Outcome {
    let cleaned = core
        .ask_all(|core| async move {
            for shard in core.own_shards() {
                shard
                    .engine
                    .clean_expired()
                    .await
                    .map_err(|error| Error::store("cleaning", &error))?;
            }
            Ok::<(), Error>(())
        })
        .await;
    for outcome in cleaned {
        outcome?;
    }
    Ok(Answer::done())
}

/// CLEAN_UNUSED_TOPIC: queues of topics that are not there any more go.
pub async fn clean_unused_topics(core: Rc<Core>, _request: Rc<Request>) -> Outcome {
    let cleaned = core
        .ask_all(|core| async move {
            for shard in core.own_shards() {
                let mut unused = std::collections::BTreeSet::new();
                shard.engine.for_each_queue(|_slot, topic, _queue_id, _bounds| {
                    if core.replicas.borrow().topic(topic).is_none() {
                        unused.insert(topic.to_owned());
                    }
                });
                for topic in unused {
                    shard
                        .engine
                        .delete_queues(&topic)
                        .map_err(|error| Error::store("deleting queues", &error))?;
                }
            }
            Ok::<(), Error>(())
        })
        .await;
    for outcome in cleaned {
        outcome?;
    }
    Ok(Answer::done())
}

/// GET_ALL_DELAY_OFFSET: how far every delay level is, in the layout of delayOffset.json.
pub async fn delay_offsets(core: Rc<Core>, _request: Rc<Request>) -> Outcome {
    Ok(Answer::body(to_java_json(&DelayOffsetsFile::gather(&core).await)))
}
