//! Hash maps whose seed comes from this world's randomness.
//!
//! Keys are names that peers choose, so the seed must be random in production; in a simulation it comes from the run's
//! seed, so that the order of iteration repeats.

use foldhash::quality::SeedableRandomState;
use std::hash::BuildHasher;

/// A hash map; make it with [`hash_map`].
pub type HashMap<K, V> = hashbrown::HashMap<K, V, SeededState>;
/// A hash set; make it with [`hash_set`].
pub type HashSet<K> = hashbrown::HashSet<K, SeededState>;

/// Hash state seeded once per map from [`crate::rng`].
#[derive(Clone, Debug)]
pub struct SeededState(SeedableRandomState);

impl Default for SeededState {
    fn default() -> Self {
        SeededState(SeedableRandomState::with_seed(
            crate::rng::random_u64(),
            foldhash::SharedSeed::global_fixed(),
        ))
    }
}

impl BuildHasher for SeededState {
    type Hasher = <SeedableRandomState as BuildHasher>::Hasher;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

/// An empty map.
#[must_use]
pub fn hash_map<K, V>() -> HashMap<K, V> {
    HashMap::with_hasher(SeededState::default())
}

/// An empty set.
#[must_use]
pub fn hash_set<K>() -> HashSet<K> {
    HashSet::with_hasher(SeededState::default())
}
