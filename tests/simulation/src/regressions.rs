//! Seeds that once failed, with what they found. They are played whenever tests run.

/// Seeds by what each found.
pub const SEEDS: [(u64, &str); 14] = [
    (
        105,
        "a restarted broker is missing at one name server until it registers again: what its last process sent comes late",
    ),
    (247, "the same, with brokers that stand still"),
    (
        2231,
        "nothing in the broker: the loss that a failed sync allows was noted before the process had ended",
    ),
    (391, "the same, with power cuts and half-open connections"),
    (
        13990,
        "messages that could not be read: a batch was checked only if the cache held all of its blocks",
    ),
    (
        54744,
        "queue offsets given out twice: behind a damaged checkpoint the one before was found, which said that the log ended there",
    ),
    (207_195, "the same"),
    (
        342_935,
        "a consumer led past a message that a failed sync had harmed in the page cache and that was whole on the disk",
    ),
    (
        335_173,
        "nothing in the broker: rot in a batch that nothing says yet was durable is cut off as a torn write after a kill, and its places with it",
    ),
    (
        317_495,
        "nothing in the broker: a producer had not come to the deletion of its topic when everything was read",
    ),
    (13994, "the same, with power cuts that asynchronous flush pays for"),
    (
        702_221,
        "a batch that ended with its block, so close to the segment's end that the seal which ends the segment had no room",
    ),
    (
        2_005_352,
        "a fenced shard had acknowledged messages in memory alone until a power cut, long after the disk was well again",
    ),
    (
        188,
        "a broker that ended when its fenced shard wrote again: a write over two segments had failed in the second",
    ),
];
