//! What a run of many seeds must have come by, or it has not tested it.

/// Marked places in the code (`runtime::mark!`).
pub const MARKS: [&str; 0] = [];
