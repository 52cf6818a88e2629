//! Randomness. Not for secrets.

use std::cell::RefCell;

thread_local! {
    static RNG: RefCell<fastrand::Rng> = RefCell::new(fastrand::Rng::new());
}

/// A uniformly random number.
#[must_use]
pub fn random_u64() -> u64 {
    RNG.with_borrow_mut(|rng| rng.u64(..))
}

/// A random number below `bound`; 0 when `bound` is 0.
#[must_use]
pub fn random_below(bound: u64) -> u64 {
    if bound == 0 {
        0
    } else {
        RNG.with_borrow_mut(|rng| rng.u64(..bound))
    }
}
