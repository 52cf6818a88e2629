//! Seeds that once failed, with what they found. They are played whenever tests run.

/// Seeds by what each found.
pub const SEEDS: [(u64, &str); 0] = [];
