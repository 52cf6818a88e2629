//! A broker that was the slave of an Apache master becomes a master: a start with brokerRole=ASYNC_MASTER on its store.
//!
//! Messages came as they were stored, topics once a second. A topic that was made in the Apache master's last second has messages here and no
//! entry in the table, so nobody could read them: it is made again, with the queues that are there.

use super::is_marked;
use crate::control::Control;
use crate::core::Core;
use crate::error::Error;
use crate::meta::Meta;
use crate::topics::{GroupTopic, Needed};
use runtime::file;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// Makes the store a master's own, if it was made from an Apache master's log until now. On core 0, before anybody is served; cut short, it
/// is done again by the next start.
///
/// # Errors
/// In words: the log takes no records, or the file system.
pub async fn take_over(core: &Rc<Core>, control: &Control) -> Result<(), String> {
    let root = core.settings().config.store_path_root_dir.clone();
    if !is_marked(&root).await {
        return Ok(());
    }
    tracing::info!("this broker takes over from the Apache master that it was a slave of");
    make_unknown_topics(core, control)
        .await
        .map_err(|error| error.to_string())?;
    unmark(&root)
        .await
        .map_err(|error| format!("{}: {error}", root.display()))
}

async fn unmark(root: &Path) -> std::io::Result<()> {
    file::remove(&root.join(super::COPIES_APACHE)).await?;
    file::sync_directory(root).await
}

async fn make_unknown_topics(core: &Rc<Core>, control: &Control) -> Result<(), Error> {
    let now_ms = runtime::wall_clock_ms();
    for (topic, queues) in topics_with_queues(core).await {
        let made = control
            .topics
            .borrow_mut()
            .for_group(GroupTopic::new(&topic, queues), now_ms)?;
        if let Needed::Made(change) = made {
            tracing::warn!(
                topic,
                queues,
                "has messages, and the Apache master ended before it could be asked of it; made with the queues that are here"
            );
            control.record_and_wait(core, &Meta::Topic(change)).await?;
        }
    }
    Ok(())
}

/// Every topic that has queues, with one more than the highest of their numbers.
async fn topics_with_queues(core: &Core) -> BTreeMap<String, u32> {
    let of_cores = core.ask_all(|core| async move {
        let mut found = Vec::new();
        for shard in core.own_shards() {
            shard
                .engine
                .for_each_queue(|_slot, topic, queue_id, _bounds| found.push((topic.to_owned(), queue_id + 1)));
        }
        found
    });
    let mut topics = BTreeMap::<String, u32>::new();
    for (topic, queues) in of_cores.await.into_iter().flatten() {
        let most = topics.entry(topic).or_default();
        *most = (*most).max(queues);
    }
    topics
}
