//! Seeds that once failed, with what they found. They are played whenever tests run.

/// Seeds by what each found.
pub const SEEDS: [(u64, &str); 4] = [
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
];
