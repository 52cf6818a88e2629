//! Tasks of a simulation: all nodes and cores in one thread, the next task drawn by the seed.
//!
//! Tasks run in turns. A turn runs the ready tasks in a drawn order; a task that is woken meanwhile joins this turn or the
//! next one, as drawn; a task that yields always waits for the next turn, so everything that was ready goes before it.

use crate::sim::Place;
use slab::Slab;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

pub(crate) type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// A task's place in the slab, and a number that no other task ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    slot: usize,
    pub(crate) serial: u64,
}

pub(crate) struct Task {
    id: TaskId,
    pub(crate) place: Place,
    /// Taken out while it is polled.
    future: Option<LocalFuture>,
    waker: Arc<TaskWaker>,
}

/// What was woken, in order. Behind a mutex only because wakers must be `Sync`.
#[derive(Debug, Default)]
struct WakeQueue(Mutex<Vec<TaskId>>);

#[derive(Debug)]
pub(crate) struct TaskWaker {
    id: TaskId,
    queued: AtomicBool,
    yielded: AtomicBool,
    aborted: AtomicBool,
    queue: Arc<WakeQueue>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            lock(&self.queue.0).push(self.id);
        }
    }
}

/// What to do with the task that was drawn.
pub(crate) enum Drawn {
    Poll(Place, LocalFuture, Arc<TaskWaker>),
    /// It was aborted: its future is to be dropped.
    Drop(Place, LocalFuture),
    /// Its node stands still.
    Held(Place),
    /// It has ended since it was woken.
    Gone,
}

#[derive(Default)]
pub(crate) struct Executor {
    tasks: Slab<Task>,
    spawned: u64,
    woken: Arc<WakeQueue>,
    /// Swapped with what was woken, so that neither is allocated anew for each step.
    taken: Vec<TaskId>,
    turn: Vec<TaskId>,
    next_turn: Vec<TaskId>,
}

impl Executor {
    /// Adds a task that is ready to run.
    pub(crate) fn add(&mut self, place: Place, future: LocalFuture) -> Arc<TaskWaker> {
        self.spawned += 1;
        let entry = self.tasks.vacant_entry();
        let id = TaskId {
            slot: entry.key(),
            serial: self.spawned,
        };
        let waker = Arc::new(TaskWaker {
            id,
            queued: AtomicBool::new(false),
            yielded: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            queue: Arc::clone(&self.woken),
        });
        entry.insert(Task {
            id,
            place,
            future: Some(future),
            waker: Arc::clone(&waker),
        });
        waker.wake_by_ref();
        waker
    }

    /// The next task by `draw(bound)`, a random number below `bound`.
    pub(crate) fn next(&mut self, mut draw: impl FnMut(u64) -> u64) -> Option<TaskId> {
        let mut woken = std::mem::take(&mut self.taken);
        std::mem::swap(&mut woken, &mut *lock(&self.woken.0));
        for id in woken.drain(..) {
            let yielded = self
                .task(id)
                .is_some_and(|task| task.waker.yielded.swap(false, Ordering::Relaxed));
            if yielded || draw(2) == 0 {
                self.next_turn.push(id);
            } else {
                self.turn.push(id);
            }
        }
        self.taken = woken;
        if self.turn.is_empty() {
            std::mem::swap(&mut self.turn, &mut self.next_turn);
        }
        if self.turn.is_empty() {
            return None;
        }
        let index = usize::try_from(draw(self.turn.len() as u64)).unwrap_or(0);
        Some(self.turn.swap_remove(index))
    }

    /// Takes a drawn task's future out, unless `held(place)`.
    pub(crate) fn take(&mut self, id: TaskId, held: impl FnOnce(Place) -> bool) -> Drawn {
        let Some(task) = self.task_mut(id) else {
            return Drawn::Gone;
        };
        if held(task.place) {
            return Drawn::Held(task.place);
        }
        task.waker.queued.store(false, Ordering::Relaxed);
        let place = task.place;
        let waker = Arc::clone(&task.waker);
        let Some(future) = task.future.take() else {
            return Drawn::Gone;
        };
        if waker.aborted.load(Ordering::Relaxed) {
            self.tasks.remove(id.slot);
            return Drawn::Drop(place, future);
        }
        Drawn::Poll(place, future, waker)
    }

    /// Gives back the future of a task that waits; hands it out again if the task has been removed meanwhile.
    pub(crate) fn put_back(&mut self, waker: &Arc<TaskWaker>, future: LocalFuture) -> Option<LocalFuture> {
        match self.task_mut(waker.id) {
            Some(task) => {
                task.future = Some(future);
                None
            }
            None => Some(future),
        }
    }

    pub(crate) fn remove(&mut self, waker: &TaskWaker) {
        if self.task(waker.id).is_some() {
            self.tasks.remove(waker.id.slot);
        }
    }

    /// Takes out the futures of all tasks at places of which `of` says so.
    pub(crate) fn remove_all(&mut self, of: impl Fn(Place) -> bool) -> Vec<(Place, LocalFuture)> {
        let slots: Vec<usize> = self
            .tasks
            .iter()
            .filter(|(_slot, task)| of(task.place))
            .map(|(slot, _task)| slot)
            .collect();
        slots
            .into_iter()
            .filter_map(|slot| {
                let task = self.tasks.remove(slot);
                task.future.map(|future| (task.place, future))
            })
            .collect()
    }

    /// Lets tasks that were held run again.
    pub(crate) fn release(&mut self, tasks: Vec<TaskId>) {
        self.next_turn.extend(tasks);
    }

    /// Where the tasks that have not ended are.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.tasks.iter().map(|(_slot, task)| task.place)
    }

    fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(id.slot).filter(|task| task.id == id)
    }

    fn task_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(id.slot).filter(|task| task.id == id)
    }
}

impl TaskWaker {
    pub(crate) fn serial(&self) -> u64 {
        self.id.serial
    }

    fn yield_turn(self: &Arc<Self>) {
        self.yielded.store(true, Ordering::Relaxed);
        self.wake_by_ref();
    }
}

/// What [`crate::spawn`] gives for a simulated task.
#[derive(Debug)]
pub(crate) struct Join<T> {
    task: Option<Arc<TaskWaker>>,
    outcome: Arc<Mutex<Outcome<T>>>,
}

#[derive(Debug)]
enum Outcome<T> {
    Running(Option<Waker>),
    Done(T),
    Aborted,
}

/// Says "aborted" if the task's future is dropped before it ended.
struct Finish<T>(Arc<Mutex<Outcome<T>>>);

impl<T> Finish<T> {
    fn set(&self, outcome: Outcome<T>) {
        let before = std::mem::replace(&mut *lock(&self.0), outcome);
        if let Outcome::Running(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<T> Drop for Finish<T> {
    fn drop(&mut self) {
        if matches!(*lock(&self.0), Outcome::Running(_)) {
            self.set(Outcome::Aborted);
        }
    }
}

/// The future to run for `task`, and the handle that receives its outcome once [`Join::attach`] was told the task.
pub(crate) fn joined<F>(task: F) -> (LocalFuture, Join<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
{
    let outcome = Arc::new(Mutex::new(Outcome::Running(None)));
    let finish = Finish(Arc::clone(&outcome));
    let future = Box::pin(async move {
        let value = task.await;
        finish.set(Outcome::Done(value));
    });
    (future, Join { task: None, outcome })
}

impl<T> Join<T> {
    pub(crate) fn attach(&mut self, task: Option<Arc<TaskWaker>>) {
        self.task = task;
    }

    pub(crate) fn abort(&self) {
        if let Some(task) = &self.task {
            task.aborted.store(true, Ordering::Relaxed);
            task.wake_by_ref();
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        !matches!(*lock(&self.outcome), Outcome::Running(_))
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut outcome = lock(&self.outcome);
        match std::mem::replace(&mut *outcome, Outcome::Aborted) {
            Outcome::Running(_waker) => {
                *outcome = Outcome::Running(Some(cx.waker().clone()));
                Poll::Pending
            }
            Outcome::Done(value) => Poll::Ready(Some(value)),
            Outcome::Aborted => Poll::Ready(None),
        }
    }
}

thread_local! {
    static POLLED: std::cell::RefCell<Option<Arc<TaskWaker>>> = const { std::cell::RefCell::new(None) };
}

/// Remembers which task is being polled, for [`yield_now`].
pub(crate) fn set_polled(task: Option<Arc<TaskWaker>>) {
    POLLED.with_borrow_mut(|polled| *polled = task);
}

/// Waits for the next turn.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx: &mut Context<'_>| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        POLLED.with_borrow(|polled| match polled {
            // Through the polled task's own waker, so that the executor knows that it yields. Futures that poll parts of
            // themselves only when those were woken need `cx` as well.
            Some(task) => {
                task.yield_turn();
                cx.waker().wake_by_ref();
            }
            None => cx.waker().wake_by_ref(),
        });
        Poll::Pending
    })
    .await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // One thread, and nothing that panics runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
