//! Which world the calls of this thread reach: the real one, or a node of a simulation.
//!
//! While a simulation polls a task, [`enter`] has told the thread on behalf of which node. Real servers pay one read of a
//! thread-local flag for each call that could go either way.

use crate::sim::Here;
use std::cell::{Cell, RefCell};

thread_local! {
    // Apart from HERE: a flag without a destructor is read with one load.
    static SIMULATED: Cell<bool> = const { Cell::new(false) };
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// The simulated node on whose behalf this thread runs now, if any.
#[inline]
pub(crate) fn simulated() -> Option<Here> {
    if is_simulated() { here() } else { None }
}

#[inline]
pub(crate) fn is_simulated() -> bool {
    SIMULATED.with(Cell::get)
}

#[cold]
fn here() -> Option<Here> {
    HERE.with_borrow(Clone::clone)
}

/// Makes the calls of this thread reach `here` until the guard is dropped.
pub(crate) fn enter(here: Here) -> Entered {
    SIMULATED.with(|flag| flag.set(true));
    Entered {
        before: HERE.with_borrow_mut(|current| current.replace(here)),
    }
}

pub(crate) struct Entered {
    before: Option<Here>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        SIMULATED.with(|flag| flag.set(self.before.is_some()));
        let left = HERE.with_borrow_mut(|current| std::mem::replace(current, self.before.take()));
        // Outside the borrow: the last reference to a world may go here.
        drop(left);
    }
}
