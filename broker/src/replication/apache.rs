//! A running master of Apache RocketMQ is copied, so that this broker can take its place: brokerRole=SLAVE beside such a master.
//!
//! Its one commitlog comes by Apache's HA protocol ([`ha`], [`copy`]): records keep topic, queue, queue offset and every other byte, and
//! go to the home shard of their queue, at physical offsets of this store. Topics, groups, consumer offsets and the progress of delay levels are
//! asked for again and again, as Apache's own slaves do ([`tables`]); and once how far the queues are that have no messages left
//! ([`empty_queues`]).
//!
//! Unlike a slave of a RingMQ master, whose log is that master's, this one writes a log of its own from the first day. To take over is
//! to start on the same store with brokerRole=ASYNC_MASTER and brokerId=0, once Apache's master has been stopped for good. The file
//! [`COPIES_APACHE`] in the store says that this has not happened yet; from then on no Apache master is copied into this store again.

pub mod copy;
mod empty_queues;
mod ha;
pub mod tables;
pub mod takeover;

use bytes::Bytes;
use protocol::body::lenient;
use protocol::body::stats::KvTable;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::RpcClient;
use runtime::file;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Stands in the store while it is made from an Apache master's.
const COPIES_APACHE: &str = "copies-apache-master";
const NOTE: &str = "This store is made from the log of a running master of Apache RocketMQ. The file goes when the broker is started as a master.\n";
/// What only a RingMQ broker says of itself, among its figures.
pub const VERSION_KEY: &str = "ringmqVersion";
/// How long a master may take for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Whether the broker at this address is Apache's.
///
/// # Errors
/// It does not answer, or not so.
pub(super) async fn is_apache(rpc: &RpcClient, master: &str) -> Result<bool, String> {
    let figures = figures_of(rpc, master).await?;
    Ok(!figures.table.contains_key(VERSION_KEY))
}

async fn figures_of(rpc: &RpcClient, master: &str) -> Result<KvTable, String> {
    let body = ask(rpc, master, RequestCode::GET_BROKER_RUNTIME_INFO).await?;
    lenient::from_slice(&body).map_err(|error| format!("the figures of {master} cannot be read: {error}"))
}

/// Asks the master something that needs no fields; the body of its answer.
async fn ask(rpc: &RpcClient, master: &str, code: RequestCode) -> Result<Bytes, String> {
    let answer = rpc.invoke(master, code, |_none| {}, Bytes::new(), ANSWER_LIMIT).await;
    let answer = answer.map_err(|error| format!("the master at {master} does not answer {code}: {error}"))?;
    if answer.response_code() == ResponseCode::SUCCESS {
        return Ok(answer.body().clone());
    }
    let remark = answer.remark().unwrap_or_default().into_owned();
    Err(format!(
        "the master at {master} answers {code} with {}: {remark}",
        answer.response_code()
    ))
}

/// Notes that the store is made from an Apache master's log, before it is there.
///
/// # Errors
/// The file system's.
pub async fn mark(root: &Path) -> io::Result<()> {
    file::create_directory(root).await?;
    file::replace(&root.join(COPIES_APACHE), NOTE.as_bytes().to_vec()).await
}

/// Whether that was noted.
pub async fn is_marked(root: &Path) -> bool {
    file::exists(&root.join(COPIES_APACHE)).await
}
