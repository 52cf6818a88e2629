//! The broker's tables as files, in the names and layout of Apache's broker: `topics.json`, `subscriptionGroup.json`,
//! `consumerOffset.json` and `delayOffset.json` in the folder `config` of the store.
//!
//! They are for people, for tools, and for the way back to Apache's broker. The truth is in the logs: at a start the files are
//! read only into a store that is empty ([`import`]). They are written when a table has changed, at most once in
//! [`EXPORT_INTERVAL`], and when the broker stops; each is replaced as a whole. A file that cannot be written (the disk is
//! full) is tried again later, and nothing else depends on it.
//!
//! Handing the tables over takes the cores a moment for each thousand of entries, with other tasks in between; the text is made
//! and written by the pool.

pub mod import;

use crate::consumer_offsets::{ConsumerOffsets, OffsetsFile};
use crate::control::Control;
use crate::core::Core;
use protocol::body::json::to_java_json;
use protocol::body::topic::DataVersion;
use runtime::file;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// Topics.
pub const TOPICS: &str = "topics.json";
/// Subscription groups, and which topics they may not use.
pub const GROUPS: &str = "subscriptionGroup.json";
/// How far consumer groups are.
pub const CONSUMER_OFFSETS: &str = "consumerOffset.json";
/// How far delay levels are.
pub const DELAY_OFFSETS: &str = "delayOffset.json";

/// Shortest time between two writes of a file: Apache's flushConsumerOffsetInterval.
const EXPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Entries that a core hands over before its other tasks run.
const ENTRIES_AT_ONCE: usize = 4096;

/// The folder of the files.
#[must_use]
pub fn folder(store_path_root_dir: &Path) -> PathBuf {
    store_path_root_dir.join("config")
}

/// `delayOffset.json`, and the answer to 45.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DelayOffsetsFile {
    /// RocketMQ's counter of changes; here it counts deliveries.
    pub data_version: DataVersion,
    /// Level to the next queue offset to deliver.
    pub offset_table: BTreeMap<i32, i64>,
}

impl DelayOffsetsFile {
    /// How far every level of every core is.
    pub async fn gather(core: &Core) -> DelayOffsetsFile {
        let levels = core
            .ask_all(|core| async move { crate::delayed_messages::figures(&core) })
            .await;
        let offset_table: BTreeMap<i32, i64> = levels
            .into_iter()
            .flatten()
            .map(|(level, progress, _max)| (level, progress))
            .collect();
        let data_version = DataVersion {
            counter: offset_table.values().sum(),
            ..DataVersion::default()
        };
        DelayOffsetsFile {
            data_version,
            offset_table,
        }
    }
}

/// What the files say now.
#[derive(Debug, Default)]
struct Written {
    topics: Option<DataVersion>,
    groups: Option<DataVersion>,
    /// Sum of the revisions of all shards' offsets.
    offsets: Option<u64>,
    delays: Option<DelayOffsetsFile>,
    /// The last write failed: said once.
    failed: bool,
}

/// Keeps the files; on core 0.
#[derive(Debug)]
pub struct TableFiles {
    core: Rc<Core>,
    control: Rc<Control>,
    folder: PathBuf,
    written: RefCell<Written>,
}

impl TableFiles {
    /// Keeps the files of a broker. Nothing is written yet.
    #[must_use]
    pub fn new(core: &Rc<Core>, control: &Rc<Control>) -> Rc<TableFiles> {
        Rc::new(TableFiles {
            core: Rc::clone(core),
            control: Rc::clone(control),
            folder: folder(&core.settings().config.store_path_root_dir),
            written: RefCell::default(),
        })
    }

    /// Writes what has changed, again and again, for ever.
    pub async fn keep(self: Rc<Self>) {
        loop {
            runtime::sleep(EXPORT_INTERVAL).await;
            self.write_changed().await;
        }
    }

    /// Writes what has changed since it was written last. What cannot be written is said in the log and tried again by the
    /// next call.
    pub async fn write_changed(&self) {
        let outcome = self.try_write_changed().await;
        let failed_before = std::mem::replace(&mut self.written.borrow_mut().failed, outcome.is_err());
        if let Err(error) = outcome
            && !failed_before
        {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "the tables' files are behind: they cannot be written; trying again");
        }
    }

    async fn try_write_changed(&self) -> io::Result<()> {
        let topics = self.control.topics.borrow().version();
        if self.written.borrow().topics != Some(topics) {
            let export = self.control.topics.borrow().export();
            self.write(TOPICS, move || export.text().into_bytes()).await?;
            self.written.borrow_mut().topics = Some(topics);
        }
        let groups = self.control.subscription_groups.borrow().version();
        if self.written.borrow().groups != Some(groups) {
            let export = self.control.subscription_groups.borrow().export();
            self.write(GROUPS, move || export.text().into_bytes()).await?;
            self.written.borrow_mut().groups = Some(groups);
        }
        let offsets = self.offsets_revision().await;
        if self.written.borrow().offsets != Some(offsets) {
            let file = self.gather_offsets().await;
            self.write(CONSUMER_OFFSETS, move || file.to_text()).await?;
            self.written.borrow_mut().offsets = Some(offsets);
        }
        let delays = DelayOffsetsFile::gather(&self.core).await;
        if self.written.borrow().delays.as_ref() != Some(&delays) {
            let text = to_java_json(&delays);
            self.write(DELAY_OFFSETS, move || text).await?;
            self.written.borrow_mut().delays = Some(delays);
        }
        Ok(())
    }

    async fn write(&self, name: &str, text: impl FnOnce() -> Vec<u8> + Send + 'static) -> io::Result<()> {
        let text = runtime::task::blocking(text).await;
        file::create_directory(&self.folder).await?;
        file::replace(&self.folder.join(name), text).await
    }

    async fn offsets_revision(&self) -> u64 {
        let revisions = self
            .core
            .ask_all(|core| async move {
                core.own_shards()
                    .map(|shard| shard.consumer_offsets.borrow().counters().changes)
                    .sum::<u64>()
            })
            .await;
        revisions.iter().sum()
    }

    async fn gather_offsets(&self) -> OffsetsFile {
        let parts = self
            .core
            .ask_all(|core| async move {
                let mut file = OffsetsFile::default();
                for shard in core.own_shards() {
                    add_with_pauses(&shard.consumer_offsets, &mut file).await;
                }
                file
            })
            .await;
        let mut all = OffsetsFile::default();
        for part in parts {
            all.join(part);
        }
        all
    }
}

/// Adds the offsets of a shard to a file; the core's other tasks run in between. What changes meanwhile is in it or not: the
/// revision taken before says that the file is behind.
async fn add_with_pauses(offsets: &RefCell<ConsumerOffsets>, file: &mut OffsetsFile) {
    file.add_version(&offsets.borrow());
    let topics: Vec<String> = offsets.borrow().topics().map(str::to_owned).collect();
    let mut since_pause = 0;
    for topic in topics {
        since_pause += offsets.borrow().export_topic_into(&topic, &mut file.offset_table);
        if since_pause >= ENTRIES_AT_ONCE {
            since_pause = 0;
            runtime::yield_now().await;
        }
    }
}
