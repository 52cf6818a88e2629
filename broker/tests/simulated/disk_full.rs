//! A disk without a free byte.

use crate::world::{LIMIT, STORE, World};
use protocol::response_code::ResponseCode;
use runtime::file::{self, File, OpenOptions};
use runtime::sim::Options;
use std::path::Path;

const BALLAST: &str = "/ballast";

/// Somebody else takes all space that is left.
async fn fill_disk() {
    let free = file::disk_space(Path::new(STORE)).await.unwrap().available;
    let ballast = File::open(Path::new(BALLAST), OpenOptions::read_write()).await.unwrap();
    ballast.allocate(free).await.unwrap();
    assert_eq!(file::disk_space(Path::new(STORE)).await.unwrap().available, 0);
}

#[test]
fn a_broker_starts_and_stops_on_a_disk_without_a_free_byte() {
    let options = Options {
        disk_capacity: 1 << 30,
        ..Options::default()
    };
    let world = World::with_options("", &[], options);
    let mut sent = 0;
    while sent < 20 {
        assert_eq!(world.send("T", 0, &[1; 1000]).code(), ResponseCode::SUCCESS);
        sent += 1;
    }
    world.run_for(30);
    world.simulation.block_on(world.broker, fill_disk(), LIMIT).unwrap();
    world.simulation.kill(world.broker);
    world.restart();
    assert_eq!(world.pull("g", "T", 0, sent - 1).code(), ResponseCode::SUCCESS);
    world.stop();
    world.restart();
    assert_eq!(world.pull("g", "T", 0, sent - 1).code(), ResponseCode::SUCCESS);
    // What the first segments have room for may still be sent or not; in the end it is refused for a reason that clients understand.
    world.run_for(11);
    let refused = world.send("T", 0, &[1; 1000]);
    assert_eq!(refused.code(), ResponseCode::SERVICE_NOT_AVAILABLE);
    assert!(refused.remark().contains("is full"), "{}", refused.remark());
    let freed = file::remove(Path::new(BALLAST));
    world.simulation.block_on(world.broker, freed, LIMIT).unwrap().unwrap();
    world.run_for(2);
    assert_eq!(world.send("T", 0, b"again").code(), ResponseCode::SUCCESS);
}
