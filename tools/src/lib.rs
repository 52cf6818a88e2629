//! What the programs mqadmin (a cluster by its protocol) and mqstore (a store by its files) are made of.

pub mod admin;
pub mod apache_store;
pub mod output;
pub mod store;
