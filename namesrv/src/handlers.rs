//! What each request does, one file a family.

pub(crate) mod admin;
pub(crate) mod broker;
pub(crate) mod kv;
pub(crate) mod route;
