//! Which crash states of one moment are looked at: all, when the unsynced changes are few; else the telling ones and a sample.

use runtime::sim::{Fate, Tear, Unsynced};

/// Up to so many changes, all their subsets are taken.
const ALL_SUBSETS: usize = 6;
/// Random subsets of more.
const RANDOM_SUBSETS: usize = 64;
/// Tears of one write.
const TEARS: usize = 6;

/// Fates of the changes, each list once.
pub(crate) fn all(unsynced: &[Unsynced], random: &mut fastrand::Rng) -> Vec<Vec<Fate>> {
    let count = unsynced.len();
    let mut found: Vec<Vec<Fate>> = Vec::new();
    let keep = |keeps: &dyn Fn(usize) -> bool| -> Vec<Fate> {
        let fate = |at| if keeps(at) { Fate::Kept } else { Fate::Lost };
        (0..count).map(fate).collect()
    };
    if count <= ALL_SUBSETS {
        found.extend((0..1_u32 << count).map(|subset| keep(&|at| subset >> at & 1 == 1)));
    } else {
        found.extend((0..=count).map(|length| keep(&|at| at < length)));
        found.extend((0..count).map(|dropped| keep(&|at| at != dropped)));
        found.extend((0..count).map(|kept| keep(&|at| at == kept)));
        for _ in 0..RANDOM_SUBSETS {
            let drawn: Vec<bool> = std::iter::repeat_with(|| random.bool()).take(count).collect();
            found.push(keep(&|at| drawn[at]));
        }
    }
    for (at, change) in unsynced.iter().enumerate() {
        let Unsynced::Write { sectors } = *change else { continue };
        if sectors < 2 {
            continue;
        }
        for _ in 0..TEARS {
            let tear = match random.u32(..3) {
                0 => Tear::First(random.usize(1..sectors)),
                1 => Tear::Last(random.usize(1..sectors)),
                _ => Tear::Mask(random.u64(..)),
            };
            // What was written before it is there, and what came after is there, is not, or in part.
            let later = random.u32(..3);
            let drawn: Vec<bool> = std::iter::repeat_with(|| random.bool()).take(count).collect();
            let mut fates = keep(&|other| other < at || later == 0 || (later == 1 && drawn[other]));
            fates[at] = Fate::Torn(tear);
            found.push(fates);
        }
    }
    let mut once: Vec<Vec<Fate>> = Vec::new();
    for fates in found {
        if !once.contains(&fates) {
            once.push(fates);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_changes_get_every_subset_and_writes_are_torn_too() {
        let unsynced = [Unsynced::Name, Unsynced::Length, Unsynced::Write { sectors: 4 }];
        let fates = all(&unsynced, &mut fastrand::Rng::with_seed(1));
        let whole = fates
            .iter()
            .filter(|fates| !fates.iter().any(|fate| matches!(fate, Fate::Torn(_))));
        assert_eq!(whole.count(), 8);
        assert!(fates.len() > 8, "{} states", fates.len());
    }

    #[test]
    fn many_changes_get_every_prefix_and_each_single_drop_and_keep() {
        let unsynced = [Unsynced::Write { sectors: 1 }; 20];
        let fates = all(&unsynced, &mut fastrand::Rng::with_seed(1));
        let kept = |fates: &Vec<Fate>| fates.iter().filter(|fate| **fate == Fate::Kept).count();
        assert_eq!(fates.iter().filter(|fates| kept(fates) == 1).count(), 20);
        assert_eq!(fates.iter().filter(|fates| kept(fates) == 19).count(), 20);
        assert!(fates.len() > 60 && fates.len() <= 124, "{}", fates.len());
    }
}
