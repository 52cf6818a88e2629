//! Tasks of a simulated node, as [`crate::task`] sees them.

pub(crate) use crate::sim::executor::{Join, yield_now};
use crate::sim::time::Sleep;
use crate::world::simulated;
use std::time::Duration;

/// Runs `work` inline, after the time a pool thread may take to come to it.
pub(crate) async fn blocking<T>(work: impl FnOnce() -> T) -> T {
    let start = simulated().map_or(0, |here| {
        let delay = here
            .world
            .between(Duration::from_micros(20), Duration::from_micros(500));
        here.world.now().saturating_add(delay)
    });
    Sleep::until(start).await;
    work()
}

/// Waits until the process was asked to stop.
pub(crate) async fn terminated() {
    std::future::poll_fn(|cx| {
        let here = simulated().expect("a simulated process waits in its own simulation");
        let mut nodes = here.world.nodes.borrow_mut();
        let node = &mut nodes[here.place.node.0];
        if node.stop_requested {
            return std::task::Poll::Ready(());
        }
        if !node.stop_waiters.iter().any(|known| known.will_wake(cx.waker())) {
            node.stop_waiters.push(cx.waker().clone());
        }
        std::task::Poll::Pending
    })
    .await;
}
