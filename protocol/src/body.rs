//! Bodies of requests and responses that are JSON, and the two ways to read and write it.
//!
//! Java writes fields sorted by name, leaves out nulls, writes numeric map keys without quotes and object map keys as they are, none
//! of which JSON knows; [`json`] writes that, [`lenient`] reads it. Bodies that brokers only relay (a client's running info, a
//! message to be consumed directly) stay bytes there.

pub mod group;
pub mod ha;
pub mod heartbeat;
pub mod json;
pub mod lenient;
pub mod offset;
pub mod properties_text;
pub mod queue;
pub mod register;
pub mod route;
pub mod running_info;
pub mod stats;
pub mod subscription;
pub mod topic;

pub use json::{to_java_json, to_standard_json};
pub use lenient::{BodyError, from_slice};
