//! Randomness. Not for secrets.

use crate::world::simulated;
use std::cell::RefCell;

thread_local! {
    static RNG: RefCell<fastrand::Rng> = RefCell::new(fastrand::Rng::new());
}

/// A uniformly random number.
#[must_use]
pub fn random_u64() -> u64 {
    if let Some(here) = simulated() {
        return here.random(|rng| rng.u64(..));
    }
    RNG.with_borrow_mut(|rng| rng.u64(..))
}

/// A random number below `bound`; 0 when `bound` is 0.
#[must_use]
pub fn random_below(bound: u64) -> u64 {
    if bound == 0 {
        return 0;
    }
    if let Some(here) = simulated() {
        return here.random(|rng| rng.u64(..bound));
    }
    RNG.with_borrow_mut(|rng| rng.u64(..bound))
}
