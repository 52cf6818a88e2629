//! What is bounded is refused with a code on which clients wait and try again.

use crate::world::World;
use broker::handlers::pull::HELD_PULLS_MAX;
use protocol::response_code::ResponseCode;

#[test]
fn a_core_holds_a_bounded_number_of_pulls_and_says_so_to_the_next() {
    let world = World::new("", &[]);
    world.send("T", 0, b"one");
    world.hold_pulls("g", "T", 0, 1, HELD_PULLS_MAX);
    let refused = world.pull_held("g", "T", 0, 1);
    assert_eq!(refused.code(), ResponseCode::SYSTEM_BUSY);
    assert!(
        refused.remark().starts_with("[OVERLOAD]") && refused.remark().contains("pulls"),
        "{}",
        refused.remark()
    );
    // A message lets them all go.
    world.send("T", 0, b"two");
    assert_eq!(world.pull("g", "T", 0, 1).code(), ResponseCode::SUCCESS);
    assert_eq!(world.pull_held("g", "T", 0, 2).code(), ResponseCode::PULL_NOT_FOUND);
}
