//! Names of client versions. RocketMQ's list of versions counts like decimal numbers: a SNAPSHOT and a release for each patch, ten
//! patches a minor version, ten minor versions a major one.

use protocol::version::Version;

/// From this ordinal on the list has no gaps.
const V4_1_0_SNAPSHOT: i32 = Version::V4_1_0_SNAPSHOT.0;
/// What lies behind the last version, 5.9.9.
const HIGHER_VERSION: i32 = 612;

/// The name of a version, such as `V5_5_0`; its number where the list is not that regular.
pub(super) fn version_name(ordinal: i32) -> String {
    if !(V4_1_0_SNAPSHOT..HIGHER_VERSION).contains(&ordinal) {
        return format!("version {ordinal}");
    }
    let (steps, is_release) = ((ordinal - V4_1_0_SNAPSHOT) / 2, (ordinal - V4_1_0_SNAPSHOT) % 2 == 1);
    let digits = 410 + steps;
    let snapshot = if is_release { "" } else { "_SNAPSHOT" };
    format!("V{}_{}_{}{snapshot}", digits / 100, digits / 10 % 10, digits % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_the_names_of_apaches_list() {
        let names = [
            (317, "V4_5_2"),
            (Version::V4_9_3.0, "V4_9_3"),
            (Version::V5_0_0.0, "V5_0_0"),
            (512, "V5_5_0_SNAPSHOT"),
        ];
        for (ordinal, name) in names {
            assert_eq!(version_name(ordinal), name);
        }
        assert_eq!(version_name(Version::CURRENT.0), Version::CURRENT_NAME);
        assert_eq!(version_name(i32::MAX), format!("version {}", i32::MAX));
    }
}
