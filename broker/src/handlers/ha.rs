//! Replication as operators see it: GET_BROKER_HA_STATUS (`mqadmin haStatus`) and lines of the runtime info. On core 0.
//!
//! RocketMQ has one log a broker, and positions in it; here bytes of all shards are added up, so that differences are what they are there.

use crate::core::Core;
use crate::handlers::{Answer, Outcome};
use crate::request::Request;
use protocol::body::ha::{HaClientRuntimeInfo, HaConnectionRuntimeInfo, HaRuntimeInfo};
use protocol::body::json::to_java_json;
use runtime::Instant;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

/// A slave, by what its connections to all shards say together.
#[derive(Clone, Debug)]
struct Slave {
    peer: SocketAddr,
    /// So many shards it copies now.
    shards: u8,
    acknowledged: u64,
    sent: u64,
    bytes_per_second: u64,
}

/// What one core says of its shards.
#[derive(Clone, Debug, Default)]
struct Figures {
    /// Bytes that are committed here.
    end: u64,
    /// By brokerId.
    slaves: BTreeMap<u32, Slave>,
    /// On a slave, of its master.
    master_end: u64,
    connected: bool,
    last_read_ms: i64,
    last_write_ms: i64,
    bytes_per_second: u64,
}

impl Figures {
    fn of(core: &Core) -> Figures {
        let mut figures = Figures {
            connected: true,
            ..Figures::default()
        };
        for shard in core.own_shards() {
            let end = shard.engine.committed_position();
            figures.end += end;
            for one in shard.followers.list() {
                let slave = figures.slaves.entry(one.broker_id).or_insert(Slave {
                    peer: one.peer,
                    shards: 0,
                    acknowledged: 0,
                    sent: 0,
                    bytes_per_second: 0,
                });
                slave.shards += 1;
                slave.acknowledged += one.progress.committed;
                slave.sent += one.sent;
                slave.bytes_per_second += one.bytes_per_second();
            }
            let copying = &shard.copying;
            figures.master_end += copying.master_end.get().max(end);
            figures.connected &= copying.connected.get();
            figures.last_read_ms = figures.last_read_ms.max(copying.last_read_ms.get());
            figures.last_write_ms = figures.last_write_ms.max(copying.last_write_ms.get());
            figures.bytes_per_second += copying.speed.borrow().per_second(Instant::now());
        }
        figures
    }

    fn add(&mut self, other: Figures) {
        self.end += other.end;
        self.master_end += other.master_end;
        self.connected &= other.connected;
        self.last_read_ms = self.last_read_ms.max(other.last_read_ms);
        self.last_write_ms = self.last_write_ms.max(other.last_write_ms);
        self.bytes_per_second += other.bytes_per_second;
        for (broker_id, more) in other.slaves {
            match self.slaves.get_mut(&broker_id) {
                None => drop(self.slaves.insert(broker_id, more)),
                Some(slave) => {
                    slave.shards += more.shards;
                    slave.acknowledged += more.acknowledged;
                    slave.sent += more.sent;
                    slave.bytes_per_second += more.bytes_per_second;
                }
            }
        }
    }
}

async fn gather(core: &Core) -> Figures {
    let mut sum = Figures {
        connected: true,
        ..Figures::default()
    };
    for figures in core.ask_all(|core| async move { Figures::of(&core) }).await {
        sum.add(figures);
    }
    sum
}

fn number(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// GET_BROKER_HA_STATUS.
pub async fn status(core: Rc<Core>, _request: Rc<Request>) -> Outcome {
    let (settings, figures) = (core.settings(), gather(&core).await);
    if settings.is_slave() {
        let client = HaClientRuntimeInfo {
            master_addr: core.master_ha_address(),
            transferred_byte_in_second: number(figures.bytes_per_second),
            max_offset: number(figures.end),
            last_read_timestamp: figures.last_read_ms,
            last_write_timestamp: figures.last_write_ms,
            master_flush_offset: number(figures.master_end),
            activated: figures.connected,
        };
        return Ok(Answer::body(to_java_json(&HaRuntimeInfo {
            ha_client_runtime_info: client,
            ..HaRuntimeInfo::default()
        })));
    }
    let connections: Vec<HaConnectionRuntimeInfo> = figures
        .slaves
        .values()
        .map(|slave| {
            let behind = figures.end.saturating_sub(slave.acknowledged);
            HaConnectionRuntimeInfo {
                addr: slave.peer.to_string(),
                diff: number(behind),
                in_sync: slave.shards == core.map.shards().get() && behind < settings.config.ha_max_gap_not_in_sync,
                slave_ack_offset: number(slave.acknowledged),
                transfer_from_where: number(slave.sent),
                transferred_byte_in_second: number(slave.bytes_per_second),
            }
        })
        .collect();
    let in_sync = connections.iter().filter(|slave| slave.in_sync).count();
    Ok(Answer::body(to_java_json(&HaRuntimeInfo {
        ha_client_runtime_info: HaClientRuntimeInfo::default(),
        in_sync_slave_nums: i32::try_from(in_sync).unwrap_or(i32::MAX),
        ha_connection_info: connections,
        master: true,
        master_commit_log_max_offset: number(figures.end),
    })))
}

/// NOTIFY_MIN_BROKER_ID_CHANGE: a name server says that a broker of this group has come or gone. The answer to a registration tells where
/// the master is.
pub async fn group_changed(core: Rc<Core>, _request: Rc<Request>) -> Outcome {
    super::control_of(&core)?.registration_wanted.notify_one();
    Ok(Answer::done())
}

/// Lines of the runtime info: how far slaves are behind.
pub(super) async fn put_figures(core: &Core, table: &mut BTreeMap<String, String>) {
    let figures = gather(core).await;
    if core.settings().is_slave() {
        let behind = figures.master_end.saturating_sub(figures.end);
        table.insert("slaveCopies".to_owned(), figures.connected.to_string());
        table.insert("slaveBehindBytes".to_owned(), behind.to_string());
        return;
    }
    for (broker_id, slave) in &figures.slaves {
        let behind = figures.end.saturating_sub(slave.acknowledged);
        table.insert(format!("slave{broker_id}BehindBytes"), behind.to_string());
    }
}
