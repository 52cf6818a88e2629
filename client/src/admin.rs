//! Requests of people and tools: topics, groups, offsets, messages by id and key, configuration, figures.
//!
//! Addresses are those of brokers (`ip:port`, from [`Admin::cluster_info`]); requests to name servers find theirs
//! themselves, and those that change something there go to all of them, since name servers do not tell each other.

mod brokers;
mod groups;
mod messages;
mod name_servers;
mod topics;

use crate::core::{Client, body_of};
use crate::error::Error;
use bytes::Bytes;
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::request_code::RequestCode;
use std::collections::BTreeMap;

pub use groups::ResetTarget;
pub use messages::KeyQuery;

/// Admin requests of a client.
#[derive(Clone, Debug)]
pub struct Admin(pub(crate) Client);

impl Admin {
    /// Admin requests of `client`.
    #[must_use]
    pub fn new(client: &Client) -> Admin {
        Admin(client.clone())
    }

    async fn body_from_name_server<A: serde::de::DeserializeOwned>(
        &self,
        request: RequestCode,
        header: &impl Header,
    ) -> Result<A, Error> {
        let (address, answer) = self.0.ask_name_server(request, header, Bytes::new()).await?;
        body_of(request, &address, &answer)
    }

    async fn ask_every_name_server(
        &self,
        request: RequestCode,
        header: &impl Header,
        body: Bytes,
    ) -> Result<(), Error> {
        for address in self.0.name_servers() {
            self.0.ask(address, request, header, body.clone()).await?;
        }
        Ok(())
    }
}

fn properties_of(answer: &Frame) -> BTreeMap<String, String> {
    // Brokers of others may write what is no properties file in our reader's eyes; what is left out then is nothing to us.
    let text = String::from_utf8_lossy(answer.body());
    let entries = protocol::body::properties_text::parse(&text);
    entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}
