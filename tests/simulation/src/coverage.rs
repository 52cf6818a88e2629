//! What a run of many seeds must have come by, or it has not tested it.

/// Marked places in the code (`runtime::mark!`).
pub const MARKS: [&str; 13] = [
    "committed bytes taken from memory after a kill",
    "commit waits: the disk is behind what memory can hold",
    "torn tail cut",
    "damage found in the log",
    "shard fenced",
    "append refused: no segment is ready",
    "append refused: disk full",
    "checkpoint taken",
    "segment deleted",
    "read that waits for the disk",
    "pull held",
    "consumer offsets saved",
    "broker removed from the routes",
];
