//! Tests of the metadata records: round trips, hostile bytes, the bytes themselves.

use super::*;
use proptest::prelude::*;

fn version() -> impl Strategy<Value = DataVersion> {
    (any::<i64>(), any::<i64>(), any::<i64>()).prop_map(|(counter, state_version, timestamp)| DataVersion {
        counter,
        state_version,
        timestamp,
    })
}

fn name() -> impl Strategy<Value = String> {
    "[%|a-zA-Z0-9_-]{1,20}"
}

fn topic() -> impl Strategy<Value = TopicConfig> {
    (
        name(),
        0..100_000,
        0..16,
        any::<bool>(),
        proptest::collection::btree_map(".{0,9}", ".{0,9}", 0..3),
    )
        .prop_map(|(topic_name, queues, perm, order, attributes)| TopicConfig {
            topic_name,
            read_queue_nums: queues,
            perm,
            order,
            attributes,
            ..TopicConfig::default()
        })
}

fn group() -> impl Strategy<Value = SubscriptionGroupConfig> {
    (name(), any::<i32>(), any::<bool>(), any::<i64>()).prop_map(|(group_name, retry_max_times, on, broker_id)| {
        SubscriptionGroupConfig {
            group_name,
            retry_max_times,
            consume_enable: on,
            broker_id,
            ..SubscriptionGroupConfig::default()
        }
    })
}

fn change() -> impl Strategy<Value = OffsetChange> {
    (0..=i32::MAX, any::<i64>(), any::<bool>()).prop_map(|(queue_id, queue_offset, reset)| OffsetChange {
        queue_id: QueueId::from_wire(queue_id).unwrap(),
        queue_offset,
        state: if reset {
            OffsetState::ResetPending
        } else {
            OffsetState::Committed
        },
    })
}

fn group_offsets() -> impl Strategy<Value = GroupOffsets> {
    (name(), name(), proptest::collection::vec(change(), 0..5)).prop_map(|(topic, consumer_group, offsets)| {
        GroupOffsets {
            topic,
            consumer_group,
            offsets,
        }
    })
}

fn meta() -> impl Strategy<Value = Meta> {
    let gone = || (version(), name()).prop_map(|(version, name)| Gone { version, name });
    let level = (any::<i32>(), any::<i64>()).prop_map(|(delay_level, queue_offset)| DelayProgress {
        delay_level,
        queue_offset,
    });
    prop_oneof![
        (version(), topic()).prop_map(|(version, config)| Meta::Topic(TopicChange {
            version,
            config: config.into()
        })),
        gone().prop_map(Meta::TopicGone),
        (version(), group()).prop_map(|(version, config)| Meta::SubscriptionGroup(GroupChange {
            version,
            config: config.into()
        })),
        gone().prop_map(Meta::SubscriptionGroupGone),
        (version(), name(), name(), any::<i32>()).prop_map(|(version, consumer_group, topic, bits)| {
            Meta::GroupForbidden(GroupForbidden {
                version,
                consumer_group,
                topic,
                bits,
            })
        }),
        proptest::collection::vec(group_offsets(), 0..4)
            .prop_map(|groups| Meta::ConsumerOffsets(OffsetChanges { groups })),
        (proptest::option::of(name()), proptest::option::of(name())).prop_map(|(topic, consumer_group)| {
            Meta::ConsumerOffsetsRemoved(OffsetsRemoved { topic, consumer_group })
        }),
        proptest::collection::vec(level, 0..20).prop_map(Meta::DelayProgress),
    ]
}

fn encoded(meta: &Meta) -> (u16, Vec<u8>) {
    let mut payload = Vec::new();
    (meta.encode(&mut payload), payload)
}

proptest! {
    #[test]
    fn every_record_reads_back_as_it_was_written(meta in meta()) {
        let (kind, payload) = encoded(&meta);
        prop_assert_eq!(Meta::decode(kind, &payload), Ok(meta));
    }

    #[test]
    fn a_record_that_is_cut_short_is_an_error(meta in meta(), cut in any::<prop::sample::Index>()) {
        let (kind, payload) = encoded(&meta);
        let shorter = &payload[..cut.index(payload.len())];
        prop_assert!(Meta::decode(kind, shorter).is_err());
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(kind in 0u16..12, payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(meta) = Meta::decode(kind, &payload) {
            prop_assert_eq!(Meta::decode(kind, &encoded(&meta).1), Ok(meta));
        }
    }

    #[test]
    fn a_record_with_changed_bytes_does_no_harm(
        meta in meta(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (kind, mut payload) = encoded(&meta);
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        let _record_or_error = Meta::decode(kind, &payload);
    }
}

#[test]
fn the_bytes_of_consumer_offsets_are_these() {
    let offset = |queue_id, queue_offset, state| OffsetChange {
        queue_id: QueueId::from_wire(queue_id).unwrap(),
        queue_offset,
        state,
    };
    let offsets = vec![
        offset(1, 5, OffsetState::Committed),
        offset(2, -1, OffsetState::ResetPending),
    ];
    let group = GroupOffsets {
        topic: "T".into(),
        consumer_group: "g1".into(),
        offsets,
    };
    let (kind, payload) = encoded(&Meta::ConsumerOffsets(OffsetChanges { groups: vec![group] }));
    let expected = [
        &[1_u8][..],
        &[0, 0, 0, 1],
        &[0, 1, b'T', 0, 2, b'g', b'1'],
        &[0, 0, 0, 2],
        &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0],
        &[0, 0, 0, 2, 255, 255, 255, 255, 255, 255, 255, 255, 1],
    ]
    .concat();
    assert_eq!((kind, payload), (6, expected));
}

#[test]
fn what_a_newer_version_wrote_is_named_as_such() {
    assert_eq!(Meta::decode(99, &[1]), Err(MetaError::UnknownKind { kind: 99 }));
    assert_eq!(
        Meta::decode(6, &[2]),
        Err(MetaError::UnknownFormat { kind: 6, format: 2 })
    );
}

#[test]
fn a_count_beyond_the_payload_is_refused_before_memory_is_taken() {
    let payload = [1, 255, 255, 255, 255];
    assert!(matches!(
        Meta::decode(6, &payload),
        Err(MetaError::Short { field: "groups", .. })
    ));
}

#[test]
fn bytes_behind_the_end_are_refused() {
    let (kind, mut payload) = encoded(&Meta::DelayProgress(Vec::new()));
    payload.push(0);
    assert_eq!(Meta::decode(kind, &payload), Err(MetaError::Long { kind, left: 1 }));
}
