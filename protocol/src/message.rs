//! A message: its record on disk and on the wire, its properties, flags and ids, and many of them in one body.

pub mod batch;
pub mod commitlog;
pub mod delay_levels;
pub mod id;
pub mod properties;
pub mod record;
pub mod sys_flag;
