//! mqadmin.
