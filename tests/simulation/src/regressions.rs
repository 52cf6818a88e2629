//! Seeds that once failed, with what they found. They are played whenever tests run.

/// Seeds by what each found.
pub const SEEDS: [(u64, &str); 8] = [
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
    (13994, "the same, with power cuts that asynchronous flush pays for"),
];
