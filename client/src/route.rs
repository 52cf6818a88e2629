//! Where the queues of a topic are.

use protocol::body::route::TopicRouteData;
use protocol::message::sys_flag::perm;
use std::collections::BTreeMap;
use std::rc::Rc;

/// One queue of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteQueue {
    /// The topic.
    pub topic: Rc<str>,
    /// The broker group that has it.
    pub broker_name: Rc<str>,
    /// Its number there.
    pub queue_id: i32,
}

/// A route, ready for use.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Queues that can be written, on broker groups that have a master.
    pub write_queues: Vec<RouteQueue>,
    /// Queues that can be read.
    pub read_queues: Vec<RouteQueue>,
    /// Addresses by broker name and broker id; id 0 is the master.
    pub brokers: BTreeMap<String, BTreeMap<i64, String>>,
}

impl Route {
    /// From a name server's answer. `queues_max` bounds the queues to be written, for a topic that does not exist yet and
    /// uses its template's route.
    #[must_use]
    pub fn new(topic: &str, data: &TopicRouteData, queues_max: i32) -> Route {
        let brokers: BTreeMap<_, _> = data
            .broker_datas
            .iter()
            .map(|data| (data.broker_name.clone(), data.broker_addrs.clone()))
            .collect();
        let topic: Rc<str> = topic.into();
        let (mut write_queues, mut read_queues) = (Vec::new(), Vec::new());
        for data in &data.queue_datas {
            let broker_name: Rc<str> = data.broker_name.as_str().into();
            let queue = |queue_id| RouteQueue {
                topic: Rc::clone(&topic),
                broker_name: Rc::clone(&broker_name),
                queue_id,
            };
            let has_master = brokers
                .get(&data.broker_name)
                .is_some_and(|addresses| addresses.contains_key(&0));
            if data.perm & perm::WRITE != 0 && has_master {
                write_queues.extend((0..data.write_queue_nums.min(queues_max)).map(queue));
            }
            if data.perm & perm::READ != 0 {
                read_queues.extend((0..data.read_queue_nums).map(queue));
            }
        }
        Route {
            write_queues,
            read_queues,
            brokers,
        }
    }

    /// The master's address.
    #[must_use]
    pub fn master(&self, broker_name: &str) -> Option<&str> {
        self.brokers.get(broker_name)?.get(&0).map(String::as_str)
    }

    /// The address of the broker with that id, else of the smallest id.
    #[must_use]
    pub fn address(&self, broker_name: &str, broker_id: i64) -> Option<&str> {
        let addresses = self.brokers.get(broker_name)?;
        addresses
            .get(&broker_id)
            .or_else(|| addresses.values().next())
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::body::route::{BrokerData, QueueData};

    fn data() -> TopicRouteData {
        let broker = |name: &str, ids: &[i64]| BrokerData {
            broker_name: name.into(),
            broker_addrs: ids.iter().map(|id| (*id, format!("{name}:{id}"))).collect(),
            ..BrokerData::default()
        };
        let queues = |name: &str, perm, nums| QueueData {
            broker_name: name.into(),
            perm,
            read_queue_nums: nums,
            write_queue_nums: nums,
            topic_sys_flag: 0,
        };
        TopicRouteData {
            broker_datas: vec![broker("a", &[0, 1]), broker("b", &[2]), broker("c", &[0])],
            queue_datas: vec![
                queues("a", 6, 2),
                queues("b", 6, 1),
                queues("c", 4, 1),
                queues("ghost", 6, 1),
            ],
            ..TopicRouteData::default()
        }
    }

    #[test]
    fn only_masters_with_permission_are_written() {
        let route = Route::new("T", &data(), i32::MAX);
        let names = |queues: &[RouteQueue]| {
            queues
                .iter()
                .map(|queue| format!("{}{}", queue.broker_name, queue.queue_id))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&route.write_queues), ["a0", "a1"]);
        assert_eq!(names(&route.read_queues), ["a0", "a1", "b0", "c0", "ghost0"]);
        assert_eq!(names(&Route::new("T", &data(), 1).write_queues), ["a0"]);
    }

    #[test]
    fn another_broker_of_the_group_stands_in_for_reads() {
        let route = Route::new("T", &data(), 4);
        assert_eq!(route.address("a", 1), Some("a:1"));
        assert_eq!(route.address("b", 0), Some("b:2"));
        assert_eq!((route.master("b"), route.address("x", 0)), (None, None));
    }
}
