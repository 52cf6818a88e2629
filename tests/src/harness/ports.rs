//! Ports that are free now, in blocks: a broker listens on its port, two below it (VIP) and one above it (HA).

use super::setting;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// `RINGMQ_TEST_PORTS` names another first port, for runs beside each other.
const FIRST: u16 = 22_200;
const BLOCK: u16 = 10;
const BLOCKS: u16 = 70;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// Ports for one name server and one broker, on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortBlock {
    pub namesrv: u16,
    pub broker: u16,
}

impl PortBlock {
    /// The next block in which every port can be bound. Processes begin at different blocks, so they seldom try the same.
    pub fn free() -> PortBlock {
        let first = setting("RINGMQ_TEST_PORTS", u64::from(FIRST));
        let first = u16::try_from(first).expect("RINGMQ_TEST_PORTS is a port");
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("less than 70");
        for _ in 0..BLOCKS {
            let block = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % BLOCKS;
            let base = first + block * BLOCK;
            if (base..base + BLOCK).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
                return PortBlock {
                    namesrv: base,
                    broker: base + 5,
                };
            }
        }
        panic!(
            "no {BLOCK} free ports in a row from {first} to {}",
            first + BLOCK * BLOCKS
        );
    }

    pub fn namesrv_address(&self) -> String {
        format!("127.0.0.1:{}", self.namesrv)
    }

    pub fn broker_address(&self) -> String {
        format!("127.0.0.1:{}", self.broker)
    }
}

#[cfg(test)]
mod unit {
    use super::PortBlock;

    #[test]
    fn two_blocks_share_no_port() {
        let (one, two) = (PortBlock::free(), PortBlock::free());
        assert!(one.namesrv.abs_diff(two.namesrv) >= 10, "{one:?} {two:?}");
    }
}
