//! Consumer offsets: how far each consumer group has consumed each queue. One table a shard, for the queues that call the
//! shard home.
//!
//! The last commit wins, backward moves too (RocketMQ's rule: a client that resets itself must be heard), but they are counted.
//! Changes gather in the table and go to the shard's log as metadata records when [`ConsumerOffsets::take_changes`] is
//! called; at a start, [`ConsumerOffsets::apply`] takes those records in their order.
//!
//! A reset by an admin is pending until the next pull of that queue: the pull is told to go to the target, and until then
//! the client's commits are swallowed, since they speak of the time before the reset. Whether a reset is pending is saved
//! with the offset, so a restart in between does not undo it.

mod file;

pub use file::{ImportedOffset, OffsetsFile};

use crate::meta::{GroupOffsets, OffsetChange, OffsetChanges, OffsetState, OffsetsRemoved};
use protocol::model::{GROUP_TOPIC_LENGTH_MAX, QueueId};
use runtime::collections::{HashMap, hash_map};
use std::collections::{BTreeMap, BTreeSet};

/// Most offsets in one metadata record, so that a record stays far below what a log's batch may hold.
const CHANGES_MAX: usize = 2048;

/// The consumer offsets of one shard.
#[derive(Debug)]
pub struct ConsumerOffsets {
    /// Topic, then consumer group.
    topics: HashMap<String, HashMap<String, Progress>>,
    /// Topics and groups with changes that no record holds yet, each once.
    changed: Vec<(String, String)>,
    counters: OffsetCounters,
}

/// How far one group is in one topic.
#[derive(Debug, Default)]
struct Progress {
    /// In order of the queues' numbers.
    queues: Vec<QueueProgress>,
    /// Whether it stands in the list of the changed ones.
    changed: bool,
}

#[derive(Clone, Copy, Debug)]
struct QueueProgress {
    queue_id: QueueId,
    queue_offset: i64,
    reset_pending: bool,
    changed: bool,
}

/// What has happened to a table since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OffsetCounters {
    /// Commits that were taken.
    pub commits: u64,
    /// Those of them that moved backward.
    pub backward: u64,
    /// Commits that were swallowed because of a pending reset.
    pub swallowed: u64,
    /// Changes of what [`ConsumerOffsets::export_topic_into`] gives: equal to before means that nothing has changed.
    pub changes: u64,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Taken.
    Taken,
    /// Taken, though the group had been further.
    Backward {
        /// Where it had been.
        from: i64,
    },
    /// A reset is pending: not taken, and the client is told that all is well.
    Swallowed,
    /// A name is longer than any name may be: not taken.
    Refused,
}

/// Answer to the question where a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetAnswer {
    /// There; or, if a reset is pending, where it shall go.
    At(i64),
    /// Nobody knows: `QUERY_NOT_FOUND` with this remark. The client then starts where its own setting says.
    NotFound(&'static str),
}

/// What the answer depends on when a group has no offset in a queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueStart {
    /// The request's `setZeroIfNotFound`.
    pub set_zero_if_not_found: Option<bool>,
    /// The queue's min offset.
    pub min_offset: i64,
    /// Whether the message at queue offset 0 is still in memory.
    pub zero_in_memory: bool,
}

impl Default for ConsumerOffsets {
    fn default() -> Self {
        ConsumerOffsets {
            topics: hash_map(),
            changed: Vec::new(),
            counters: OffsetCounters::default(),
        }
    }
}

impl ConsumerOffsets {
    /// A consumer group says how far it is. Whether topic, group and queue exist is the caller's to check: the table takes
    /// what it gets.
    pub fn commit(&mut self, topic: &str, consumer_group: &str, queue_id: QueueId, queue_offset: i64) -> Committed {
        if !is_storable(topic, consumer_group) {
            return Committed::Refused;
        }
        let progress = progress_of(&mut self.topics, topic, consumer_group);
        let before = progress.queue(queue_id).copied();
        if before.is_some_and(|queue| queue.reset_pending) {
            self.counters.swallowed += 1;
            return Committed::Swallowed;
        }
        self.counters.commits += 1;
        if before.is_none_or(|queue| queue.queue_offset != queue_offset) {
            self.counters.changes += 1;
            if progress.set(queue_id, queue_offset, false) {
                self.changed.push((topic.to_owned(), consumer_group.to_owned()));
            }
        }
        match before {
            Some(queue) if queue_offset < queue.queue_offset => {
                self.counters.backward += 1;
                Committed::Backward {
                    from: queue.queue_offset,
                }
            }
            _ => Committed::Taken,
        }
    }

    /// Where a group is in a queue, or shall go if a reset is pending; negative if a client has committed that.
    #[must_use]
    pub fn offset(&self, topic: &str, consumer_group: &str, queue_id: QueueId) -> Option<i64> {
        self.get(topic, consumer_group)?
            .queue(queue_id)
            .map(|queue| queue.queue_offset)
    }

    /// The answer to `QUERY_CONSUMER_OFFSET`, by RocketMQ's rules: a group that is new to a young queue starts at 0 whatever
    /// its own setting says, unless it asked not to.
    #[must_use]
    pub fn answer(&self, topic: &str, consumer_group: &str, queue_id: QueueId, start: QueueStart) -> OffsetAnswer {
        match self.offset(topic, consumer_group, queue_id) {
            Some(queue_offset) if queue_offset >= 0 => OffsetAnswer::At(queue_offset),
            _ if start.set_zero_if_not_found == Some(false) => {
                OffsetAnswer::NotFound("Not found, do not set to zero, maybe this group boot first")
            }
            _ if start.min_offset <= 0 && start.zero_in_memory => OffsetAnswer::At(0),
            _ => OffsetAnswer::NotFound("Not found, maybe this consumer group boots first"),
        }
    }

    /// An admin sends a group to another place of a queue: its offset is the target from now on, and the reset is pending.
    /// False if a name is longer than any name may be.
    pub fn reset(&mut self, topic: &str, consumer_group: &str, queue_id: QueueId, target: i64) -> bool {
        if !is_storable(topic, consumer_group) {
            return false;
        }
        self.counters.changes += 1;
        let progress = progress_of(&mut self.topics, topic, consumer_group);
        if progress.set(queue_id, target, true) {
            self.changed.push((topic.to_owned(), consumer_group.to_owned()));
        }
        true
    }

    /// Where the next pull of a queue must go because of a reset; the reset is done with that. To be asked at each pull.
    pub fn take_reset(&mut self, topic: &str, consumer_group: &str, queue_id: QueueId) -> Option<i64> {
        let progress = self.topics.get_mut(topic)?.get_mut(consumer_group)?;
        let target = progress
            .queue(queue_id)
            .filter(|queue| queue.reset_pending)?
            .queue_offset;
        if progress.set(queue_id, target, false) {
            self.changed.push((topic.to_owned(), consumer_group.to_owned()));
        }
        Some(target)
    }

    /// Whether a reset is pending.
    #[must_use]
    pub fn is_reset_pending(&self, topic: &str, consumer_group: &str, queue_id: QueueId) -> bool {
        self.get(topic, consumer_group)
            .and_then(|progress| progress.queue(queue_id))
            .is_some_and(|queue| queue.reset_pending)
    }

    /// Forgets what all groups have consumed of a topic; gives the record that makes it last, if anything was there.
    pub fn remove_topic(&mut self, topic: &str) -> Option<OffsetsRemoved> {
        let (topic, _groups) = self.topics.remove_entry(topic)?;
        self.counters.changes += 1;
        Some(OffsetsRemoved {
            topic: Some(topic),
            consumer_group: None,
        })
    }

    /// Forgets all that a group has consumed; gives the record that makes it last, if anything was there.
    pub fn remove_group(&mut self, consumer_group: &str) -> Option<OffsetsRemoved> {
        let mut removed = false;
        self.topics.retain(|_topic, groups| {
            removed |= groups.remove(consumer_group).is_some();
            !groups.is_empty()
        });
        self.counters.changes += u64::from(removed);
        removed.then(|| OffsetsRemoved {
            topic: None,
            consumer_group: Some(consumer_group.to_owned()),
        })
    }

    /// Forgets the topics that a group neither subscribes to nor could still read where it is: all its offsets there are at
    /// or below the queues' min offsets.
    pub fn remove_abandoned(
        &mut self,
        is_subscribed: impl Fn(&str, &str) -> bool,
        min_offset: impl Fn(&str, QueueId) -> i64,
    ) -> Vec<OffsetsRemoved> {
        let mut removed = Vec::new();
        self.topics.retain(|topic, groups| {
            let abandoned = |consumer_group: &str, progress: &Progress| {
                !is_subscribed(topic, consumer_group)
                    && progress
                        .queues
                        .iter()
                        .all(|queue| queue.queue_offset <= min_offset(topic, queue.queue_id))
            };
            for (consumer_group, _progress) in groups.extract_if(|group, progress| abandoned(group, progress)) {
                removed.push(OffsetsRemoved {
                    topic: Some(topic.clone()),
                    consumer_group: Some(consumer_group),
                });
            }
            !groups.is_empty()
        });
        self.counters.changes += u64::from(!removed.is_empty());
        removed
    }

    /// Gives a group the offsets that another one has in a topic. Queues that only the new group has been in keep theirs.
    pub fn clone_group(&mut self, topic: &str, from_group: &str, to_group: &str) -> bool {
        let Some(from) = self.get(topic, from_group).filter(|_| is_storable(topic, to_group)) else {
            return false;
        };
        let queues = from.queues.clone();
        self.counters.changes += 1;
        let to = progress_of(&mut self.topics, topic, to_group);
        let mut first_change = false;
        for queue in queues {
            first_change |= to.set(queue.queue_id, queue.queue_offset, false);
        }
        if first_change {
            self.changed.push((topic.to_owned(), to_group.to_owned()));
        }
        true
    }

    /// The topics in which a group has offsets.
    pub fn topics_of<'a>(&'a self, consumer_group: &'a str) -> impl Iterator<Item = &'a str> {
        let with_group =
            move |(_topic, groups): &(&String, &HashMap<String, Progress>)| groups.contains_key(consumer_group);
        self.topics
            .iter()
            .filter(with_group)
            .map(|(topic, _groups)| topic.as_str())
    }

    /// The groups that have offsets in a topic.
    pub fn groups_of(&self, topic: &str) -> impl Iterator<Item = &str> + use<'_> {
        self.topics
            .get(topic)
            .into_iter()
            .flat_map(|groups| groups.keys().map(String::as_str))
    }

    /// Where a group is in each queue of a topic, in order of the queues.
    pub fn offsets_of(&self, topic: &str, consumer_group: &str) -> impl Iterator<Item = (QueueId, i64)> + use<'_> {
        self.get(topic, consumer_group)
            .into_iter()
            .flat_map(|progress| progress.queues.iter().map(|queue| (queue.queue_id, queue.queue_offset)))
    }

    /// The least offset of all groups in each queue of a topic, leaving out the groups named and offsets of messages that are
    /// gone: `QUERY_CORRECTION_OFFSET`. Apache's broker also deletes the offsets of the groups left out; we do not.
    pub fn least_offsets(
        &self,
        topic: &str,
        left_out: &[&str],
        min_offset: impl Fn(QueueId) -> i64,
    ) -> BTreeMap<QueueId, i64> {
        let mut least = BTreeMap::new();
        for (consumer_group, progress) in self.topics.get(topic).into_iter().flatten() {
            if left_out.contains(&consumer_group.as_str()) {
                continue;
            }
            for queue in progress
                .queues
                .iter()
                .filter(|queue| queue.queue_offset >= min_offset(queue.queue_id))
            {
                let so_far = least.entry(queue.queue_id).or_insert(queue.queue_offset);
                *so_far = queue.queue_offset.min(*so_far);
            }
        }
        least
    }

    /// The changes since the last call, as records for the shard's log, oldest first; none if nothing has changed.
    pub fn take_changes(&mut self) -> Vec<OffsetChanges> {
        let mut records = Records::default();
        for (topic, consumer_group) in std::mem::take(&mut self.changed) {
            // What was removed since is not there, and its removal has a record of its own.
            let Some(progress) = self
                .topics
                .get_mut(&topic)
                .and_then(|groups| groups.get_mut(&consumer_group))
            else {
                continue;
            };
            progress.changed = false;
            let mut offsets = Vec::new();
            for queue in progress.queues.iter_mut().filter(|queue| queue.changed) {
                queue.changed = false;
                offsets.push(queue.to_change());
            }
            records.push(topic, consumer_group, offsets);
        }
        records.finish()
    }

    /// Takes a record's changes back among those to come: it could not be appended.
    pub fn put_back(&mut self, changes: &OffsetChanges) {
        for group in &changes.groups {
            let progress = self
                .topics
                .get_mut(&group.topic)
                .and_then(|groups| groups.get_mut(&group.consumer_group));
            let Some(progress) = progress else { continue };
            for change in &group.offsets {
                if progress.note_change(change.queue_id) {
                    self.changed.push((group.topic.clone(), group.consumer_group.clone()));
                }
            }
        }
    }

    /// Everything, as records; for a checkpoint. Pending changes stay pending.
    #[must_use]
    pub fn snapshot(&self) -> Vec<OffsetChanges> {
        let mut records = Records::default();
        for (topic, consumer_group, progress) in self.iter() {
            let offsets = progress.queues.iter().map(|queue| queue.to_change()).collect();
            records.push(topic.to_owned(), consumer_group.to_owned(), offsets);
        }
        records.finish()
    }

    /// Takes a record that was written before; for a start.
    pub fn apply(&mut self, changes: &OffsetChanges) {
        for group in &changes.groups {
            let progress = progress_of(&mut self.topics, &group.topic, &group.consumer_group);
            for change in &group.offsets {
                progress.put(
                    change.queue_id,
                    change.queue_offset,
                    change.state == OffsetState::ResetPending,
                );
            }
        }
    }

    /// Takes a record of the master's, in a slave. What consumers have told this slave and the master does not know yet stays, unless the
    /// master is further or an operator has reset the group.
    pub fn apply_of_master(&mut self, changes: &OffsetChanges) {
        for group in &changes.groups {
            let progress = progress_of(&mut self.topics, &group.topic, &group.consumer_group);
            for change in &group.offsets {
                let reset = change.state == OffsetState::ResetPending;
                let own = progress.queue(change.queue_id).filter(|queue| queue.changed);
                if own.is_some_and(|own| own.queue_offset > change.queue_offset && !reset) {
                    continue;
                }
                progress.put(change.queue_id, change.queue_offset, reset);
            }
        }
    }

    /// Whether there are changes that no record holds yet.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The changes that no record holds yet, as [`ConsumerOffsets::take_changes`] gives them; they stay pending.
    #[must_use]
    pub fn pending_changes(&self) -> Vec<OffsetChanges> {
        let mut records = Records::default();
        for (topic, consumer_group) in &self.changed {
            let Some(progress) = self.get(topic, consumer_group) else {
                continue;
            };
            let offsets = progress.queues.iter().filter(|queue| queue.changed);
            let offsets = offsets.map(|queue| queue.to_change()).collect();
            records.push(topic.clone(), consumer_group.clone(), offsets);
        }
        records.finish()
    }

    /// The master has these changes: they are pending no more, where nothing has changed since.
    pub fn confirm(&mut self, changes: &OffsetChanges) {
        for group in &changes.groups {
            let Some(progress) = self
                .topics
                .get_mut(&group.topic)
                .and_then(|groups| groups.get_mut(&group.consumer_group))
            else {
                continue;
            };
            for queue in &mut progress.queues {
                let confirmed = group.offsets.iter().any(|change| *change == queue.to_change());
                queue.changed &= !confirmed;
            }
            progress.changed = progress.queues.iter().any(|queue| queue.changed);
        }
        let topics = &self.topics;
        self.changed.retain(|(topic, group)| {
            let progress = topics.get(topic).and_then(|groups| groups.get(group));
            progress.is_some_and(|progress| progress.changed)
        });
    }

    /// Takes over what consumers have told a slave: where a group is further than here, and no operator has sent it elsewhere.
    pub fn merge(&mut self, changes: &OffsetChanges) {
        for group in &changes.groups {
            for change in &group.offsets {
                let here = self.offset(&group.topic, &group.consumer_group, change.queue_id);
                if here.is_none_or(|here| change.queue_offset > here) {
                    self.commit(
                        &group.topic,
                        &group.consumer_group,
                        change.queue_id,
                        change.queue_offset,
                    );
                }
            }
        }
    }

    /// Takes a record of a removal; for a start.
    pub fn apply_removed(&mut self, removed: &OffsetsRemoved) {
        match (&removed.topic, &removed.consumer_group) {
            (Some(topic), Some(consumer_group)) => {
                if let Some(groups) = self.topics.get_mut(topic) {
                    groups.remove(consumer_group);
                    if groups.is_empty() {
                        self.topics.remove(topic);
                    }
                }
            }
            (Some(topic), None) => drop(self.remove_topic(topic)),
            (None, Some(consumer_group)) => drop(self.remove_group(consumer_group)),
            (None, None) => {}
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> OffsetCounters {
        self.counters
    }

    /// Adds the table to one of `consumerOffset.json`'s shape: `topic@group` to queue to offset.
    pub fn export_into(&self, table: &mut BTreeMap<String, BTreeMap<i32, i64>>) {
        for topic in self.topics.keys() {
            self.export_topic_into(topic, table);
        }
    }

    /// Adds the part of one topic to such a table; gives how many offsets it has.
    pub fn export_topic_into(&self, topic: &str, table: &mut BTreeMap<String, BTreeMap<i32, i64>>) -> usize {
        let mut count = 0;
        for (consumer_group, progress) in self.topics.get(topic).into_iter().flatten() {
            count += progress.queues.len();
            let key = [topic, "@", consumer_group].concat();
            let queues = progress
                .queues
                .iter()
                .map(|queue| (queue.queue_id.to_wire(), queue.queue_offset));
            table.entry(key).or_default().extend(queues);
        }
        count
    }

    /// The topics in which any group has an offset.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    /// Every group that has an offset, with its topics.
    #[must_use]
    pub fn groups(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (topic, consumer_group, _progress) in self.iter() {
            groups.entry(consumer_group).or_default().insert(topic);
        }
        groups
    }

    fn get(&self, topic: &str, consumer_group: &str) -> Option<&Progress> {
        self.topics.get(topic)?.get(consumer_group)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str, &Progress)> {
        self.topics.iter().flat_map(|(topic, groups)| {
            groups
                .iter()
                .map(move |(group, progress)| (topic.as_str(), group.as_str(), progress))
        })
    }
}

/// Whether a record can hold these names. Requests with other names are refused before they come here; this makes sure.
fn is_storable(topic: &str, consumer_group: &str) -> bool {
    topic.len() <= GROUP_TOPIC_LENGTH_MAX && consumer_group.len() <= GROUP_TOPIC_LENGTH_MAX
}

/// Get or make. A commit finds its group here with two look-ups and no allocation.
fn progress_of<'a>(
    topics: &'a mut HashMap<String, HashMap<String, Progress>>,
    topic: &str,
    consumer_group: &str,
) -> &'a mut Progress {
    topics
        .entry_ref(topic)
        .or_insert_with(hash_map)
        .entry_ref(consumer_group)
        .or_default()
}

impl Progress {
    fn queue(&self, queue_id: QueueId) -> Option<&QueueProgress> {
        let place = self
            .queues
            .binary_search_by_key(&queue_id, |queue| queue.queue_id)
            .ok()?;
        self.queues.get(place)
    }

    /// Writes a queue's place. True if this is the group's first change since the last record.
    #[must_use]
    fn set(&mut self, queue_id: QueueId, queue_offset: i64, reset_pending: bool) -> bool {
        self.put(queue_id, queue_offset, reset_pending);
        self.note_change(queue_id)
    }

    fn put(&mut self, queue_id: QueueId, queue_offset: i64, reset_pending: bool) {
        match self.queues.binary_search_by_key(&queue_id, |queue| queue.queue_id) {
            Ok(place) => {
                let Some(queue) = self.queues.get_mut(place) else {
                    return;
                };
                queue.queue_offset = queue_offset;
                queue.reset_pending = reset_pending;
            }
            Err(place) => {
                self.queues.insert(
                    place,
                    QueueProgress {
                        queue_id,
                        queue_offset,
                        reset_pending,
                        changed: false,
                    },
                );
            }
        }
    }

    fn note_change(&mut self, queue_id: QueueId) -> bool {
        let place = self.queues.binary_search_by_key(&queue_id, |queue| queue.queue_id);
        if let Some(queue) = place.ok().and_then(|place| self.queues.get_mut(place)) {
            queue.changed = true;
            return !std::mem::replace(&mut self.changed, true);
        }
        false
    }
}

impl QueueProgress {
    fn to_change(self) -> OffsetChange {
        let state = if self.reset_pending {
            OffsetState::ResetPending
        } else {
            OffsetState::Committed
        };
        OffsetChange {
            queue_id: self.queue_id,
            queue_offset: self.queue_offset,
            state,
        }
    }
}

/// Changes on their way into records of bounded size.
#[derive(Default)]
struct Records {
    full: Vec<OffsetChanges>,
    last: OffsetChanges,
    in_last: usize,
}

impl Records {
    fn push(&mut self, topic: String, consumer_group: String, mut offsets: Vec<OffsetChange>) {
        // A topic has few queues a shard; one with thousands is split over records.
        while offsets.len() > CHANGES_MAX {
            let rest = offsets.split_off(CHANGES_MAX);
            self.push(
                topic.clone(),
                consumer_group.clone(),
                std::mem::replace(&mut offsets, rest),
            );
        }
        if self.in_last + offsets.len() > CHANGES_MAX {
            self.full.push(std::mem::take(&mut self.last));
            self.in_last = 0;
        }
        self.in_last += offsets.len();
        if !offsets.is_empty() {
            self.last.groups.push(GroupOffsets {
                topic,
                consumer_group,
                offsets,
            });
        }
    }

    fn finish(mut self) -> Vec<OffsetChanges> {
        if !self.last.groups.is_empty() {
            self.full.push(self.last);
        }
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YOUNG: QueueStart = QueueStart {
        set_zero_if_not_found: None,
        min_offset: 0,
        zero_in_memory: true,
    };

    fn q(queue_id: u32) -> QueueId {
        QueueId::new(queue_id).unwrap()
    }

    fn replay(records: &[OffsetChanges]) -> ConsumerOffsets {
        let mut table = ConsumerOffsets::default();
        for record in records {
            table.apply(record);
        }
        table
    }

    fn exported(table: &ConsumerOffsets) -> BTreeMap<String, BTreeMap<i32, i64>> {
        let mut out = BTreeMap::new();
        table.export_into(&mut out);
        out
    }

    #[test]
    fn the_last_commit_wins_and_backward_moves_are_counted() {
        let mut table = ConsumerOffsets::default();
        assert_eq!(table.commit("t", "g", q(0), 10), Committed::Taken);
        assert_eq!(table.commit("t", "g", q(0), 10), Committed::Taken);
        assert_eq!(table.commit("t", "g", q(0), 4), Committed::Backward { from: 10 });
        assert_eq!(table.offset("t", "g", q(0)), Some(4));
        assert_eq!(table.offset("t", "g", q(1)), None);
        assert_eq!(
            table.counters(),
            OffsetCounters {
                commits: 3,
                backward: 1,
                swallowed: 0,
                changes: 2
            }
        );
    }

    #[test]
    fn a_new_group_starts_a_young_queue_at_zero_and_an_old_queue_by_its_own_rule() {
        let table = ConsumerOffsets::default();
        let answer = |start| table.answer("t", "g", q(0), start);
        assert_eq!(answer(YOUNG), OffsetAnswer::At(0));
        assert_eq!(
            answer(QueueStart {
                set_zero_if_not_found: Some(true),
                ..YOUNG
            }),
            OffsetAnswer::At(0)
        );
        let not_found = |start| matches!(answer(start), OffsetAnswer::NotFound(_));
        assert!(not_found(QueueStart {
            set_zero_if_not_found: Some(false),
            ..YOUNG
        }));
        assert!(not_found(QueueStart {
            zero_in_memory: false,
            ..YOUNG
        }));
        assert!(not_found(QueueStart { min_offset: 1, ..YOUNG }));
    }

    #[test]
    fn names_that_no_record_can_hold_are_refused() {
        let mut table = ConsumerOffsets::default();
        let long = "x".repeat(GROUP_TOPIC_LENGTH_MAX + 1);
        assert_eq!(table.commit(&long, "g", q(0), 1), Committed::Refused);
        assert_eq!(table.commit("t", &long, q(0), 1), Committed::Refused);
        assert!(!table.reset("t", &long, q(0), 1));
        table.commit("t", "g", q(0), 1);
        assert!(!table.clone_group("t", "g", &long));
        assert_eq!(exported(&table).len(), 1);
    }

    #[test]
    fn a_negative_commit_counts_as_not_found() {
        let mut table = ConsumerOffsets::default();
        table.commit("t", "g", q(0), -1);
        assert_eq!(table.answer("t", "g", q(0), YOUNG), OffsetAnswer::At(0));
        let old = QueueStart { min_offset: 7, ..YOUNG };
        assert!(matches!(table.answer("t", "g", q(0), old), OffsetAnswer::NotFound(_)));
    }

    #[test]
    fn a_reset_answers_queries_swallows_commits_and_ends_with_the_next_pull() {
        let mut table = ConsumerOffsets::default();
        table.commit("t", "g", q(0), 100);
        table.reset("t", "g", q(0), 5);
        assert!(table.is_reset_pending("t", "g", q(0)) && !table.is_reset_pending("t", "g", q(1)));
        assert_eq!(table.answer("t", "g", q(0), YOUNG), OffsetAnswer::At(5));
        assert_eq!(table.commit("t", "g", q(0), 101), Committed::Swallowed);
        assert_eq!(table.take_reset("t", "g", q(0)), Some(5));
        assert_eq!(table.take_reset("t", "g", q(0)), None);
        assert_eq!(table.commit("t", "g", q(0), 6), Committed::Taken);
        assert_eq!(table.counters().swallowed, 1);
    }

    #[test]
    fn a_pending_reset_outlives_a_restart_and_so_does_its_end() {
        let mut table = ConsumerOffsets::default();
        table.reset("t", "g", q(3), 5);
        let mut records = table.take_changes();
        assert_eq!(replay(&records).commit("t", "g", q(3), 9), Committed::Swallowed);
        table.take_reset("t", "g", q(3));
        records.extend(table.take_changes());
        assert_eq!(replay(&records).commit("t", "g", q(3), 9), Committed::Taken);
    }

    #[test]
    fn changes_come_once_and_only_what_changed() {
        let mut table = ConsumerOffsets::default();
        table.commit("t", "g", q(0), 1);
        table.commit("t", "g", q(1), 2);
        assert_eq!(table.take_changes().len(), 1);
        assert!(table.take_changes().is_empty());
        table.commit("t", "g", q(1), 2);
        assert!(table.take_changes().is_empty(), "the same offset again is no change");
        table.commit("t", "g", q(1), 3);
        let records = table.take_changes();
        let change = OffsetChange {
            queue_id: q(1),
            queue_offset: 3,
            state: OffsetState::Committed,
        };
        let group = GroupOffsets {
            topic: "t".into(),
            consumer_group: "g".into(),
            offsets: vec![change],
        };
        assert_eq!(records, [OffsetChanges { groups: vec![group] }]);
    }

    #[test]
    fn changes_that_could_not_be_written_come_again_with_newer_values() {
        let mut table = ConsumerOffsets::default();
        table.commit("t", "g", q(0), 1);
        table.commit("gone", "g", q(0), 1);
        let lost = table.take_changes();
        table.remove_topic("gone");
        table.commit("t", "g", q(0), 2);
        for record in &lost {
            table.put_back(record);
        }
        let again = table.take_changes();
        assert_eq!(exported(&replay(&again)), exported(&table));
        assert_eq!(again.iter().flat_map(|record| &record.groups).count(), 1);
    }

    #[test]
    fn many_changes_are_split_into_records_of_bounded_size() {
        let mut table = ConsumerOffsets::default();
        for queue_id in 0..5000 {
            table.commit("wide", "g", q(queue_id), i64::from(queue_id));
        }
        for group in 0..3000 {
            table.commit("t", &format!("g{group}"), q(0), group);
        }
        let records = table.take_changes();
        let count = |record: &OffsetChanges| record.groups.iter().map(|group| group.offsets.len()).sum::<usize>();
        assert!(records.iter().all(|record| (1..=CHANGES_MAX).contains(&count(record))));
        assert_eq!(records.iter().map(count).sum::<usize>(), 8000);
        assert_eq!(exported(&replay(&records)), exported(&table));
        assert_eq!(exported(&replay(&table.snapshot())), exported(&table));
    }

    #[test]
    fn removals_forget_a_topic_or_a_group_and_can_be_replayed() {
        let mut table = ConsumerOffsets::default();
        for (topic, group) in [("t1", "g1"), ("t1", "g2"), ("t2", "g1"), ("t3", "g1")] {
            table.commit(topic, group, q(0), 1);
        }
        let mut copy = replay(&table.take_changes());
        let removed = [table.remove_topic("t1").unwrap(), table.remove_group("g1").unwrap()];
        assert!(table.remove_topic("t1").is_none() && table.remove_group("g1").is_none());
        assert!(exported(&table).is_empty());
        for removed in &removed {
            copy.apply_removed(removed);
        }
        assert!(exported(&copy).is_empty());
    }

    #[test]
    fn a_commit_after_a_removal_starts_anew() {
        let mut table = ConsumerOffsets::default();
        table.commit("t", "g", q(0), 9);
        table.remove_topic("t");
        assert_eq!(table.commit("t", "g", q(0), 1), Committed::Taken, "not backward");
        assert_eq!(exported(&replay(&table.take_changes())), exported(&table));
    }

    #[test]
    fn abandoned_offsets_go_and_those_of_subscribers_or_of_kept_messages_stay() {
        let mut table = ConsumerOffsets::default();
        table.commit("t", "behind", q(0), 10);
        table.commit("t", "subscribed", q(0), 10);
        table.commit("t", "ahead", q(0), 10);
        table.commit("t", "ahead", q(1), 11);
        let removed = table.remove_abandoned(|_topic, group| group == "subscribed", |_topic, _queue_id| 10);
        assert_eq!(
            removed,
            [OffsetsRemoved {
                topic: Some("t".into()),
                consumer_group: Some("behind".into())
            }]
        );
        let mut groups: Vec<&str> = table.groups_of("t").collect();
        groups.sort_unstable();
        assert_eq!(groups, ["ahead", "subscribed"]);
    }

    #[test]
    fn a_cloned_group_stands_where_the_other_does() {
        let mut table = ConsumerOffsets::default();
        table.commit("t", "from", q(0), 3);
        table.reset("t", "from", q(1), 4);
        assert!(table.clone_group("t", "from", "to"));
        assert!(!table.clone_group("t", "nobody", "to"));
        assert_eq!(table.offsets_of("t", "to").collect::<Vec<_>>(), [(q(0), 3), (q(1), 4)]);
        assert!(!table.is_reset_pending("t", "to", q(1)));
        assert_eq!(exported(&replay(&table.take_changes())), exported(&table));
    }

    #[test]
    fn topics_and_groups_are_found_both_ways() {
        let mut table = ConsumerOffsets::default();
        table.commit("t1", "g", q(0), 1);
        table.commit("t2", "g", q(0), 1);
        table.commit("t2", "h", q(0), 1);
        let mut topics: Vec<&str> = table.topics_of("g").collect();
        topics.sort_unstable();
        assert_eq!(topics, ["t1", "t2"]);
        assert_eq!(table.topics_of("h").collect::<Vec<_>>(), ["t2"]);
        assert_eq!(table.groups().get("g").unwrap().len(), 2);
    }

    #[test]
    fn least_offsets_leave_out_groups_and_lost_messages_without_forgetting_them() {
        let mut table = ConsumerOffsets::default();
        table.commit("t", "lost", q(0), 2);
        table.commit("t", "slow", q(0), 5);
        table.commit("t", "fast", q(0), 9);
        let least = |left_out: &[&str]| table.least_offsets("t", left_out, |_queue_id| 3).get(&q(0)).copied();
        assert_eq!(least(&[]), Some(5));
        assert_eq!(least(&["slow"]), Some(9));
        assert_eq!(table.offset("t", "slow", q(0)), Some(5));
    }

    /// A crash leaves what the log has: so the log must lead to the table, whatever came in which order.
    #[test]
    fn after_any_run_of_events_the_log_holds_the_table() {
        use crate::meta::Meta;
        use proptest::prelude::*;
        let (topics, groups) = (["t", "u"], ["g", "h"]);
        let event = (0..9u8, 0..2usize, 0..2usize, 0..3u32, -1..50i64);
        proptest!(|(events in proptest::collection::vec(event, 0..80))| {
            let (mut table, mut log) = (ConsumerOffsets::default(), Vec::new());
            for (event, topic, group, queue_id, queue_offset) in events {
                let (topic, group, queue_id) = (topics[topic], groups[group], q(queue_id));
                match event {
                    0..=2 => _ = table.commit(topic, group, queue_id, queue_offset),
                    3 => _ = table.reset(topic, group, queue_id, queue_offset),
                    4 => _ = table.take_reset(topic, group, queue_id),
                    5 => log.extend(table.remove_topic(topic).map(Meta::ConsumerOffsetsRemoved)),
                    6 => log.extend(table.remove_group(group).map(Meta::ConsumerOffsetsRemoved)),
                    7 => _ = table.clone_group(topic, group, "g"),
                    _ => log.extend(table.take_changes().into_iter().map(Meta::ConsumerOffsets)),
                }
            }
            log.extend(table.take_changes().into_iter().map(Meta::ConsumerOffsets));
            let mut replayed = ConsumerOffsets::default();
            for record in &log {
                let mut payload = Vec::new();
                let kind = record.encode(&mut payload);
                match Meta::decode(kind, &payload).unwrap() {
                    Meta::ConsumerOffsets(changes) => replayed.apply(&changes),
                    Meta::ConsumerOffsetsRemoved(removed) => replayed.apply_removed(&removed),
                    other => panic!("{other:?} is none of ours"),
                }
            }
            prop_assert_eq!(exported(&replayed), exported(&table));
            for (topic, group) in [("t", "g"), ("t", "h"), ("u", "g"), ("u", "h")] {
                for queue_id in [q(0), q(1), q(2)] {
                    let pending = |table: &ConsumerOffsets| table.is_reset_pending(topic, group, queue_id);
                    prop_assert_eq!(pending(&replayed), pending(&table));
                }
            }
        });
    }
}
