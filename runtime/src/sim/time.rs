//! Virtual time: sleeping until the simulation has come to a point of time.

use crate::world::simulated;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Waits until a point of virtual time. It holds only numbers and finds its world by the thread's context.
pub(crate) struct Sleep {
    /// Nanoseconds since the simulation began.
    deadline: u64,
    timer: Option<u64>,
}

impl Sleep {
    pub(crate) fn until(deadline: u64) -> Sleep {
        Sleep { deadline, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let here = simulated().expect("a simulated timer is polled by its simulation");
        if here.world.now() >= self.deadline {
            return Poll::Ready(());
        }
        match self.timer {
            Some(timer) => here.world.renew_timer(timer, cx.waker()),
            None => self.timer = Some(here.world.add_timer(self.deadline, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(timer), Some(here)) = (self.timer, simulated()) {
            here.world.cancel_timer(timer);
        }
    }
}
