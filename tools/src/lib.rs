//! What the programs mqadmin (a cluster by its protocol) and mqstore (a store by its files) are made of.

//ADMIN
pub mod output;
pub mod store;
