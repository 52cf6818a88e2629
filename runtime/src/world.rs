//! Which world the calls of this thread reach: the real one, with or without a ring.

use std::cell::Cell;

/// How files are reached from this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileAccess {
    /// Calls that may wait for the disk go through the thread's io_uring.
    Ring,
    /// Calls that may wait for the disk go to the blocking pool of the thread's runtime.
    Blocking,
}

thread_local! {
    static FILE_ACCESS: Cell<FileAccess> = const { Cell::new(FileAccess::Blocking) };
}

pub(crate) fn file_access() -> FileAccess {
    FILE_ACCESS.with(Cell::get)
}

pub(crate) fn set_file_access(access: FileAccess) {
    FILE_ACCESS.with(|cell| cell.set(access));
}
