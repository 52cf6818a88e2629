//! The verdict: what was acknowledged against what was read, queue by queue.

use crate::history::{Cut, History, MessageId, NO_KEY, QueueIndex, Sent, State, Tick};
use crate::queue::{Content, Hole, Queue, Slot};
use crate::reader::Cause;
use crate::report::{Class, Report};
use std::collections::HashMap;

/// An acknowledged place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    queue_offset: u64,
    ended: Tick,
    /// When it was sent first: it was stored between that and `ended`.
    began: Tick,
    id: MessageId,
}

impl History {
    /// Says what is wrong.
    #[must_use]
    pub fn check(mut self) -> Report {
        let mut claims = self.claims();
        // First all that is there, since a message that is missing here may lie elsewhere.
        for queue in self.queue_indexes() {
            if !self.queues[queue.index()].deleted {
                self.check_senders(queue);
            }
        }
        for queue in self.queue_indexes() {
            let claims = &mut claims[queue.index()];
            claims.sort_unstable();
            if self.queues[queue.index()].deleted {
                self.report.deleted += claims.len() as u64;
                continue;
            }
            self.check_claims(queue, claims);
            self.check_holes(queue, claims);
            self.check_order(queue);
            self.check_ends(queue, claims);
        }
        self.report
    }

    /// Acknowledged places, by queue.
    fn claims(&mut self) -> Vec<Vec<Claim>> {
        let mut claims = vec![Vec::new(); self.queues.len()];
        for (&producer, sent) in &self.producers {
            for (sequence, sent) in sent.iter().filter(|entry| entry.1.attempts > 0) {
                match sent.state {
                    State::Unknown => self.report.unknown += 1,
                    State::Rejected => self.report.rejected += 1,
                    State::Acknowledged => {
                        self.report.acknowledged += 1;
                        claims[sent.queue as usize].push(Claim {
                            queue_offset: sent.queue_offset,
                            ended: sent.ended,
                            began: sent.began,
                            id: MessageId { producer, sequence },
                        });
                    }
                }
            }
        }
        claims
    }

    fn sent(&self, id: MessageId) -> Option<&Sent> {
        let sent = self.producers.get(&id.producer)?.get(id.sequence);
        (sent.attempts > 0).then_some(sent)
    }

    /// Whether the slot's message is there at the end.
    fn is_present(&self, slot: &Slot) -> bool {
        slot.content == Content::Message && (slot.drained || !self.draining)
    }

    /// Everything that was read was sent, to this queue, and lies in one place.
    fn check_senders(&mut self, queue: QueueIndex) {
        let state = &self.queues[queue.index()];
        let (returned, topic) = (state.returned, state.topic);
        let read: Vec<(u64, Slot)> = state
            .slots
            .iter()
            .filter(|entry| entry.1.content == Content::Message)
            .map(|(offset, slot)| (offset, *slot))
            .collect();
        for (offset, slot) in read {
            let id = slot.id();
            let present = self.is_present(&slot);
            let Some(sent) = self.sent(id).copied() else {
                self.found_in(Class::Phantom, queue, offset, Some(id), "nobody sent it".to_owned());
                continue;
            };
            if sent.state == State::Rejected {
                let detail = "its producer was told that it was refused".to_owned();
                self.found_in(Class::Phantom, queue, offset, Some(id), detail);
                continue;
            }
            // A message that was given back lies elsewhere, and more than once.
            if returned {
                continue;
            }
            let wanted = if sent.to_queue {
                sent.target as usize == queue.index()
            } else {
                sent.target == topic
            };
            if !wanted {
                let detail = "it was sent to another".to_owned();
                self.found_in(Class::WrongQueue, queue, offset, Some(id), detail);
            }
            if present {
                self.check_place(queue, offset, id, &sent);
            }
        }
    }

    /// A message lies where its answer said, and elsewhere only if it was sent again.
    fn check_place(&mut self, queue: QueueIndex, offset: u64, id: MessageId, sent: &Sent) {
        if sent.acknowledged_at(queue, offset) {
            return;
        }
        let second = sent.state == State::Acknowledged || sent.seen;
        if sent.state == State::Unknown && !sent.seen {
            self.report.unknown_stored += 1;
        }
        if second && sent.attempts > 1 {
            self.report.duplicate(Cause::SendRetry);
        } else if second {
            let detail = "it was sent once, and another place is known of it".to_owned();
            self.found_in(Class::InconsistentOffset, queue, offset, Some(id), detail);
        }
        if let Some(sent) = self.producers.get_mut(&id.producer) {
            sent.get_mut(id.sequence).seen = true;
        }
    }

    /// The life of the queue in which a message was stored; `None` if a cut fell between its sending and its answer, which may
    /// have come late.
    fn life_of(&self, queue: QueueIndex, claim: &Claim) -> Option<u16> {
        let life = self.epoch_at(queue, claim.ended);
        (life == self.epoch_at(queue, claim.began)).then_some(life)
    }

    /// Everything that was acknowledged is there, and no place was given twice.
    fn check_claims(&mut self, queue: QueueIndex, claims: &[Claim]) {
        for pair in claims.windows(2) {
            let (one, other) = (pair[0], pair[1]);
            let life = self.life_of(queue, &one);
            let same_life = life.is_some() && life == self.life_of(queue, &other);
            if one.queue_offset == other.queue_offset && same_life {
                let detail = format!(
                    "message {} of producer {} was acknowledged there too",
                    one.id.sequence, one.id.producer
                );
                self.found_in(
                    Class::DuplicateOffset,
                    queue,
                    other.queue_offset,
                    Some(other.id),
                    detail,
                );
            }
        }
        // From the end: a cut takes the newest, so nothing that is left may lie behind what it took.
        let mut oldest_left = Tick::MAX;
        for claim in claims.iter().rev() {
            let slot = *self.queues[queue.index()].slots.get(claim.queue_offset);
            if slot.holds(claim.id) && self.is_present(&slot) {
                oldest_left = oldest_left.min(claim.ended);
            } else {
                self.missing(queue, claim, &slot, oldest_left);
            }
        }
    }

    /// An acknowledged message is not at its place: whether that may be.
    fn missing(&mut self, queue: QueueIndex, claim: &Claim, slot: &Slot, oldest_left: Tick) {
        let state = &self.queues[queue.index()];
        let broker = &self.brokers[state.broker];
        let offset = claim.queue_offset;
        let limit = state.drained_to.unwrap_or(state.seen_end);
        let unread = !self.draining && offset >= limit;
        if offset < state.kept_from() {
            self.report.expired += 1;
            return;
        }
        if let Some(window) = may_be_cut_off(&broker.cuts, claim, oldest_left) {
            self.report.cut_off += 1;
            self.report.cut_off_window = self.report.cut_off_window.max(window);
            return;
        }
        let same_life = self.life_of(queue, claim) == Some(slot.epoch);
        if slot.content == Content::Message && !slot.holds(claim.id) && same_life {
            let other = slot.id();
            let detail = format!(
                "message {} of producer {} was read there",
                other.sequence, other.producer
            );
            self.found_in(Class::DuplicateOffset, queue, offset, Some(claim.id), detail);
        }
        let state = &self.queues[queue.index()];
        let elsewhere = self.sent(claim.id).is_some_and(|sent| sent.seen) && !state.returned;
        if slot.content == Content::Corrupt || elsewhere {
            // Said already, as a corrupt body or an inconsistent offset.
        } else if self.brokers[state.broker].damage_allowed {
            self.report.damaged += 1;
        } else if unread {
            self.report.unseen += 1;
        } else {
            let detail = format!("acknowledged at tick {}; read up to {limit}", claim.ended);
            self.found_in(Class::Lost, queue, offset, Some(claim.id), detail);
        }
    }

    /// Every place that a reader went past and was not given.
    fn check_holes(&mut self, queue: QueueIndex, claims: &[Claim]) {
        let state = &mut self.queues[queue.index()];
        let mut holes = std::mem::take(&mut state.holes);
        if self.brokers[state.broker].damage_allowed {
            return;
        }
        holes.sort_unstable();
        let kept_from = state.kept_from();
        let mut from = kept_from;
        for hole in holes {
            // Several readers may have gone past the same place: it is looked at once.
            let new = Hole {
                from: hole.from.max(from),
                ..hole
            };
            from = from.max(hole.to);
            if new.from < new.to {
                self.check_hole(queue, new, claims);
            }
        }
    }

    fn check_hole(&mut self, queue: QueueIndex, hole: Hole, claims: &[Claim]) {
        let state = &self.queues[queue.index()];
        let later: Vec<(u64, MessageId)> = filled(state, hole).map(|(offset, slot)| (offset, slot.id())).collect();
        let mut known: Vec<u64> = later.iter().map(|entry| entry.0).collect();
        let first = claims.partition_point(|claim| claim.queue_offset < hole.from);
        let claimed = claims[first..].iter().map(|claim| claim.queue_offset);
        known.extend(claimed.take_while(|offset| *offset < hole.to));
        known.sort_unstable();
        known.dedup();
        let missing = hole.to - hole.from - known.len() as u64;
        if missing > 0 {
            let detail = format!("of {} to {} nobody knows {missing}", hole.from, hole.to);
            self.found_in(Class::Gap, queue, hole.from, None, detail);
        }
        for (offset, id) in later {
            let detail = "a reader went past it before it was given out".to_owned();
            self.found_in(Class::LostThenReread, queue, offset, Some(id), detail);
        }
    }

    /// What was sent after another message's acknowledgement lies behind it: per producer, and per sharding key.
    fn check_order(&mut self, queue: QueueIndex) {
        if self.queues[queue.index()].returned {
            return;
        }
        // From the end: the earliest acknowledgement among what lies behind.
        let mut by_producer: HashMap<u32, Tick> = HashMap::new();
        let mut by_key: HashMap<u32, Tick> = HashMap::new();
        let mut wrong = Vec::new();
        for (offset, slot) in self.queues[queue.index()].slots.iter().rev() {
            let id = slot.id();
            let Some(sent) = self.sent(id).filter(|_sent| self.is_present(slot)) else {
                continue;
            };
            let behind = |ends: &HashMap<u32, Tick>, of| ends.get(&of).is_some_and(|ended| *ended < sent.began);
            if behind(&by_producer, id.producer) {
                wrong.push((offset, id, "its producer"));
            } else if sent.sharding_key != NO_KEY && behind(&by_key, sent.sharding_key) {
                wrong.push((offset, id, "its sharding key"));
            }
            if sent.acknowledged_at(queue, offset) {
                let earliest = |ends: &mut HashMap<u32, Tick>, of| {
                    let ended = ends.entry(of).or_insert(Tick::MAX);
                    *ended = (*ended).min(sent.ended);
                };
                earliest(&mut by_producer, id.producer);
                if sent.sharding_key != NO_KEY {
                    earliest(&mut by_key, sent.sharding_key);
                }
            }
        }
        for (offset, id, whose) in wrong {
            let detail = format!("a message of {whose} lies behind it and was acknowledged before it was sent");
            self.found_in(Class::Reorder, queue, offset, Some(id), detail);
        }
    }

    /// The end of a queue is never told below what had been acknowledged when it was asked for.
    fn check_ends(&mut self, queue: QueueIndex, claims: &[Claim]) {
        let mut ends = std::mem::take(&mut self.queues[queue.index()].ends);
        ends.sort_unstable_by_key(|seen| seen.asked);
        let mut by_time: Vec<Claim> = claims.to_vec();
        by_time.sort_unstable_by_key(|claim| claim.ended);
        let mut acknowledged = by_time.into_iter().peekable();
        let (mut least, mut epoch) = (0, 0);
        for seen in ends {
            while let Some(claim) = acknowledged.next_if(|claim| claim.ended < seen.asked) {
                let Some(life) = self.life_of(queue, &claim) else {
                    continue;
                };
                // What a power cut may have taken does not count after it.
                if life != epoch {
                    (least, epoch) = (0, life);
                }
                least = least.max(claim.queue_offset.saturating_add(1));
            }
            let life = self.epoch_at(queue, seen.asked);
            let cut_between = life != epoch || life != self.epoch_at(queue, seen.answered);
            if seen.end < least && !cut_between {
                let detail = format!("the end is told as {} when {least} was acknowledged", seen.end);
                self.found_in(Class::StaleEnd, queue, seen.end, None, detail);
            }
        }
    }
}

/// Messages that were given out of places which a reader had gone past, in the same life of the queue.
fn filled(state: &Queue, hole: Hole) -> impl Iterator<Item = (u64, &Slot)> {
    state
        .slots
        .range(hole.from, hole.to)
        .filter(move |(_offset, slot)| slot.content == Content::Message && slot.epoch == hole.epoch)
}

/// Whether a cut may have taken an acknowledged message: the first one after its answer, or one while the answer was under
/// way. It came soon enough, and nothing that was acknowledged before that cut and lies behind the message is left. The time
/// from the acknowledgement to the cut, if so.
fn may_be_cut_off(cuts: &[Cut], claim: &Claim, oldest_left_behind: Tick) -> Option<Tick> {
    let first = cuts.partition_point(|cut| cut.tick < claim.began);
    let last = cuts.partition_point(|cut| cut.tick < claim.ended);
    let possible = cuts.iter().take(last + 1).skip(first);
    let mut possible = possible.filter(|cut| oldest_left_behind >= cut.tick);
    possible.find_map(|cut| Some(cut.tick.saturating_sub(claim.ended)).filter(|window| *window <= cut.window))
}
