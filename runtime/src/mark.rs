//! Coverage marks: named places in the code that a simulation should have come by.
//!
//! A run that never reaches a marked place has not tested it, and [`crate::sim::Report::missing`] says so. In a real
//! process a mark is one read of a thread-local flag.

/// Counts that this place was reached: `runtime::mark!("segment rolled")`.
#[macro_export]
macro_rules! mark {
    ($name:literal) => {
        $crate::mark::hit($name)
    };
}

/// Counts one hit of the mark `name` in the simulation this thread runs; does nothing in the real world.
#[inline]
pub fn hit(name: &'static str) {
    if let Some(here) = crate::world::simulated() {
        here.world.count_mark(name);
    }
}
