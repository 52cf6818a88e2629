//! Making a topic where it is missing, so that a tool or a test can use it at once.

use crate::admin::Admin;
use crate::error::Error;
use crate::route::Route;
use protocol::body::topic::TopicConfig;
use protocol::response_code::ResponseCode;
use std::rc::Rc;
use std::time::Duration;

/// How long a new topic may take to reach the name servers.
const SEEN_LIMIT: Duration = Duration::from_secs(10);
/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

impl Admin {
    /// The route of a topic, which is made with `queues` queues on every master if no broker has it.
    ///
    /// # Errors
    /// [`Error::NoMaster`] and [`Error::TopicNotSeen`]; and as [`Admin::cluster_info`] and [`Admin::create_topic`].
    pub async fn ensure_topic(&self, topic: &str, queues: i32) -> Result<Rc<Route>, Error> {
        if let Some(route) = self.known_route(topic).await? {
            return Ok(route);
        }
        let config = TopicConfig {
            topic_name: topic.to_owned(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            ..TopicConfig::default()
        };
        let cluster = self.cluster_info().await?;
        let brokers = cluster.broker_addr_table.values();
        let masters: Vec<&String> = brokers.filter_map(|broker| broker.broker_addrs.get(&0)).collect();
        if masters.is_empty() {
            return Err(Error::NoMaster);
        }
        for master in &masters {
            self.create_topic(master, &config).await?;
        }
        // Every master registers the topic by itself; the route is complete when it has queues on all of them.
        let seen = async {
            loop {
                match self.known_route(topic).await? {
                    Some(route) if route.brokers.len() >= masters.len() => return Ok(route),
                    _ => runtime::sleep(LOOK_INTERVAL).await,
                }
            }
        };
        runtime::timeout(SEEN_LIMIT, seen).await.unwrap_or_else(|_late| {
            Err(Error::TopicNotSeen {
                topic: topic.to_owned(),
                limit: SEEN_LIMIT,
            })
        })
    }

    async fn known_route(&self, topic: &str) -> Result<Option<Rc<Route>>, Error> {
        match self.0.fresh_route(topic).await {
            Ok(route) => Ok(Some(route)),
            Err(error) if error.code() == Some(ResponseCode::TOPIC_NOT_EXIST) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
