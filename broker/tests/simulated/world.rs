//! A broker of one core and two shards, and a client beside it, in a simulated world.

use broker::broker::Broker;
use broker::config::{BrokerConfig, Machine, Sources};
use broker::settings::Settings;
use broker::{plan, start};
use bytes::{Bytes, BytesMut};
use protocol::body::heartbeat::{ConsumerData, HeartbeatData};
use protocol::body::to_java_json;
use protocol::frame::Frame;
use protocol::header_writer::HeaderWriter;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{Connection, Connections, Handler, Limits, RpcClient};
use runtime::file;
use runtime::sim::{NodeId, Options, Simulation};
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const STORE: &str = "/store";
const ADDRESS: &str = "10.0.0.1:10911";
const CONF: &str = "brokerIP1=10.0.0.1\nbrokerIP2=10.0.0.1\nbindAddress=10.0.0.1\nbrokerName=broker-a\nshards=2\n\
                    storePathRootDir=/store\nmappedFileSizeCommitLog=8388608\n";
const SLAVE_ADDRESS: &str = "10.0.0.3:10911";
const SLAVE_CONF: &str = "brokerIP1=10.0.0.3\nbrokerIP2=10.0.0.3\nbindAddress=10.0.0.3\nbrokerName=broker-a\nbrokerId=1\nbrokerRole=SLAVE\n\
                          haMasterAddress=10.0.0.1:10912\nstorePathRootDir=/store\n";
const CONF_FILE: &str = "/conf/broker.conf";
/// Virtual time for anything that is waited for.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A consumer of queue 2 of topic T that has come to offset 7, when the broker asks it.
struct ConsumerSide;

impl Handler for ConsumerSide {
    fn on_request(&self, connection: &Rc<Connection>, request: Frame) {
        if request.is_oneway() {
            return;
        }
        assert_eq!(request.request_code(), RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT);
        let body: &[u8] = br#"{"messageQueueTable":{{"brokerName":"broker-a","queueId":2,"topic":"T"}:7}}"#;
        let write = |out: &mut BytesMut| {
            let header = HeaderWriter::response(out, request.serialize(), ResponseCode::SUCCESS, request.opaque());
            header.finish(body.len()).unwrap();
        };
        connection.reply_parts(write, [Bytes::from_static(body)]);
    }
}

/// What an answer says.
#[derive(Debug)]
pub(crate) struct Answer(pub(crate) Frame);

impl Answer {
    pub(crate) fn code(&self) -> ResponseCode {
        self.0.response_code()
    }

    pub(crate) fn remark(&self) -> String {
        self.0.remark().unwrap_or_default().into_owned()
    }

    pub(crate) fn number(&self, field: &str) -> i64 {
        let value = self.0.ext().get(field).map(|text| text.to_cow().into_owned());
        value.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            panic!("no number {field} in {:?}: {}", self.code(), self.remark());
        })
    }
}

pub(crate) struct World {
    pub(crate) simulation: Simulation,
    pub(crate) broker: NodeId,
    pub(crate) client: NodeId,
    /// There after [`World::with_slave`].
    pub(crate) slave: Option<NodeId>,
    /// The slave has ended to be started again.
    slave_again: Rc<Cell<bool>>,
    /// Whom the client asks.
    address: Cell<&'static str>,
    /// How the last run of the broker ended, if it has: the text of the error.
    pub(crate) ended: Rc<RefCell<Option<Result<(), String>>>>,
    /// What the next start of the broker reads.
    conf: Rc<RefCell<String>>,
    /// There until the end.
    rpc: Option<(Connections, RpcClient)>,
}

impl Drop for World {
    fn drop(&mut self) {
        // Sockets of a simulation end in it.
        let rpc = self.rpc.take();
        self.simulation.on(self.client, || drop(rpc));
    }
}

/// Runs a broker until it is asked to stop. Says whether it wants to be started again.
async fn run_broker(conf: &str, files: &[(&str, &str)]) -> Result<bool, String> {
    let machine = Machine {
        cpus: 1,
        host_name: "host".to_owned(),
        home: PathBuf::from("/home/mq"),
        address: None,
        namesrv_addr: None,
        rocketmq_home: None,
    };
    let sources = Sources {
        file: Some((Path::new(CONF_FILE), conf.as_bytes())),
        options: &[],
        machine: &machine,
    };
    let config = BrokerConfig::load(&sources)
        .map_err(|findings| format!("{findings:?}"))?
        .0;
    for (path, text) in files.iter().copied().chain([(CONF_FILE, conf)]) {
        let path = Path::new(path);
        if !file::exists(path).await {
            file::create_directory(path.parent().unwrap()).await.unwrap();
            file::replace(path, text.as_bytes().to_vec()).await.unwrap();
        }
    }
    let mut store = plan::store_options(&config, 1);
    let settings = Settings::new(config)?;
    let (layout, origin) = start::open_store(&settings, &mut store).await?;
    let broker = Broker::with_origin(settings, layout, 1, origin);
    runtime::spawn(start::stop_on_signal(Arc::clone(&broker)));
    Arc::clone(&broker)
        .run_core(0)
        .await
        .map_err(|error| error.to_string())?;
    Ok(broker.starts_again())
}

impl World {
    /// A broker with these lines added to its configuration, on a machine that has these files, and a client.
    pub(crate) fn new(lines: &str, files: &'static [(&'static str, &'static str)]) -> World {
        World::with_options(lines, files, Options::default())
    }

    pub(crate) fn with_options(lines: &str, files: &'static [(&'static str, &'static str)], options: Options) -> World {
        let simulation = Simulation::new(1, options);
        let broker = simulation.node("broker", IpAddr::from([10, 0, 0, 1]));
        let client = simulation.node("client", IpAddr::from([10, 0, 0, 2]));
        let conf = Rc::new(RefCell::new([CONF, lines].concat()));
        let given = Rc::clone(&conf);
        let ended: Rc<RefCell<Option<Result<(), String>>>> = Rc::default();
        let outcome = Rc::clone(&ended);
        simulation.start(broker, move || {
            let (conf, outcome) = (conf.borrow().clone(), Rc::clone(&outcome));
            *outcome.borrow_mut() = None;
            async move {
                let end = run_broker(&conf, files).await;
                *outcome.borrow_mut() = Some(end.map(drop));
            }
        });
        simulation.start(client, runtime::signal::terminated);
        let rpc = simulation.on(client, || {
            let connections = Connections::new(Limits::default());
            let rpc = RpcClient::new(connections.clone(), Rc::new(ConsumerSide));
            (connections, rpc)
        });
        World {
            simulation,
            broker,
            client,
            slave: None,
            slave_again: Rc::default(),
            address: Cell::new(ADDRESS),
            ended,
            conf: given,
            rpc: Some(rpc),
        }
    }

    /// A master and a slave of it, each with these lines added to its configuration.
    pub(crate) fn with_slave(lines: &str, slave_lines: &str) -> World {
        let mut world = World::new(lines, &[]);
        let slave = world.simulation.node("slave", IpAddr::from([10, 0, 0, 3]));
        let conf = Rc::new([SLAVE_CONF, slave_lines].concat());
        let again = Rc::clone(&world.slave_again);
        world.simulation.start(slave, move || {
            let (conf, again) = (Rc::clone(&conf), Rc::clone(&again));
            async move {
                again.set(run_broker(&conf, &[]).await.unwrap());
            }
        });
        world.slave = Some(slave);
        world
    }

    /// From now on the client asks the slave.
    pub(crate) fn ask_slave(&self) {
        self.address.set(SLAVE_ADDRESS);
    }

    /// From now on the client asks the master.
    pub(crate) fn ask_master(&self) {
        self.address.set(ADDRESS);
    }

    /// Asks again until it is so.
    pub(crate) fn await_that(&self, what: &str, holds: impl Fn(&World) -> bool) {
        for _try in 0..300 {
            if holds(self) {
                return;
            }
            self.simulation.run_for(Duration::from_millis(100));
            if let Some(slave) = self.slave.filter(|_slave| self.slave_again.take()) {
                self.simulation.restart(slave);
            }
        }
        panic!("not within 30 s: {what}");
    }

    pub(crate) fn await_end(&self) -> Result<(), String> {
        let ended = Rc::clone(&self.ended);
        self.simulation.run_until(|| ended.borrow().is_some(), LIMIT).unwrap();
        self.ended.borrow().clone().unwrap()
    }

    /// Asks the broker to stop, and waits until it has, in good order.
    pub(crate) fn stop(&self) {
        self.simulation.stop(self.broker);
        assert_eq!(self.await_end(), Ok(()));
    }

    pub(crate) fn restart(&self) {
        self.simulation.restart(self.broker);
    }

    /// The next start has these lines in its configuration.
    pub(crate) fn configure(&self, lines: &str) {
        *self.conf.borrow_mut() = [CONF, lines].concat();
    }

    pub(crate) fn run_for(&self, seconds: u64) {
        self.simulation.run_for(Duration::from_secs(seconds));
    }

    /// Whether the client is connected.
    pub(crate) fn is_connected(&self) -> bool {
        self.rpc
            .as_ref()
            .is_some_and(|(connections, _rpc)| connections.count() > 0)
    }

    pub(crate) fn file(&self, name: &str) -> Option<String> {
        let bytes = self.simulation.file(self.broker, &Path::new(STORE).join(name))?;
        Some(String::from_utf8(bytes).unwrap())
    }

    /// Asks the broker, again while nobody listens there yet.
    pub(crate) fn ask(&self, code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let fields: Vec<(String, String)> = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (rpc, body) = (self.rpc.clone().unwrap().1, Bytes::copy_from_slice(body));
        let address = self.address.get();
        let asked = async move {
            loop {
                let fill = |out: &mut HeaderWriter<'_>| {
                    for (key, value) in &fields {
                        out.put(key, value);
                    }
                };
                match rpc.invoke(address, code, fill, body.clone(), ANSWER_LIMIT).await {
                    Ok(answer) => return Answer(answer),
                    Err(_not_there) => {
                        rpc.disconnect(address);
                        runtime::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        };
        match self.simulation.block_on(self.client, asked, LIMIT) {
            Ok(answer) => answer,
            Err(stopped) => panic!(
                "{code} was not answered: {stopped}; the broker ended: {:?}",
                self.ended.borrow()
            ),
        }
    }

    pub(crate) fn send(&self, topic: &str, queue_id: i32, body: &[u8]) -> Answer {
        self.send_with(topic, queue_id, "", body)
    }

    pub(crate) fn send_tagged(&self, topic: &str, queue_id: i32, tag: &str) -> Answer {
        self.send_with(topic, queue_id, &format!("TAGS\u{1}{tag}\u{2}"), b"body")
    }

    pub(crate) fn send_delayed(&self, topic: &str, queue_id: i32, level: i32) -> Answer {
        self.send_with(topic, queue_id, &format!("DELAY\u{1}{level}\u{2}"), b"body")
    }

    fn send_with(&self, topic: &str, queue_id: i32, properties: &str, body: &[u8]) -> Answer {
        let properties = [properties, "WAIT\u{1}true\u{2}"].concat();
        let queue_id = queue_id.to_string();
        let fields = [
            ("producerGroup", "p"),
            ("topic", topic),
            ("defaultTopic", "TBW102"),
            ("defaultTopicQueueNums", "4"),
            ("queueId", &queue_id),
            ("sysFlag", "0"),
            ("bornTimestamp", "1"),
            ("flag", "0"),
            ("properties", &properties),
            ("reconsumeTimes", "0"),
            ("unitMode", "false"),
            ("batch", "false"),
        ];
        self.ask(RequestCode::SEND_MESSAGE, &fields, body)
    }

    /// A pull of all tags that is not held.
    pub(crate) fn pull(&self, group: &str, topic: &str, queue_id: i32, offset: i64) -> Answer {
        self.pull_tags(group, topic, queue_id, offset, "*")
    }

    pub(crate) fn pull_tags(&self, group: &str, topic: &str, queue_id: i32, offset: i64, tags: &str) -> Answer {
        // The pull carries its subscription: bit 2.
        self.pull_with(
            group,
            topic,
            (queue_id, offset),
            &[("sysFlag", "4"), ("subscription", tags)],
        )
    }

    /// A pull that wants what its group has registered by heartbeat.
    pub(crate) fn pull_registered(&self, group: &str, topic: &str, queue_id: i32, offset: i64) -> Answer {
        self.pull_with(group, topic, (queue_id, offset), &[("sysFlag", "0")])
    }

    /// A pull that may be held for a minute, and is waited for.
    pub(crate) fn pull_held(&self, group: &str, topic: &str, queue_id: i32, offset: i64) -> Answer {
        let more = [
            ("sysFlag", "6"),
            ("subscription", "*"),
            ("suspendTimeoutMillis", "20000"),
        ];
        self.pull_with(group, topic, (queue_id, offset), &more)
    }

    /// So many pulls that are held, whose answers nobody waits for.
    pub(crate) fn hold_pulls(&self, group: &str, topic: &str, queue_id: i32, offset: i64, count: usize) {
        let rpc = self.rpc.clone().unwrap().1;
        let fields = [
            ("consumerGroup", group.to_owned()),
            ("topic", topic.to_owned()),
            ("queueId", queue_id.to_string()),
            ("queueOffset", offset.to_string()),
            ("maxMsgNums", "1".to_owned()),
            ("commitOffset", "0".to_owned()),
            ("suspendTimeoutMillis", "3600000".to_owned()),
            ("subVersion", "0".to_owned()),
            ("sysFlag", "6".to_owned()),
            ("subscription", "*".to_owned()),
        ];
        let send_all = async move {
            for sent in 0..count {
                let fill = |out: &mut HeaderWriter<'_>| {
                    for (key, value) in &fields {
                        out.put(key, value);
                    }
                };
                rpc.notify(ADDRESS, RequestCode::PULL_MESSAGE, fill, Bytes::new())
                    .await
                    .unwrap();
                if sent % 64 == 0 {
                    // The network takes its time.
                    runtime::sleep(Duration::from_millis(3)).await;
                }
            }
            runtime::sleep(Duration::from_secs(1)).await;
        };
        self.simulation.block_on(self.client, send_all, LIMIT).unwrap();
    }

    fn pull_with(&self, group: &str, topic: &str, place: (i32, i64), more: &[(&str, &str)]) -> Answer {
        let (queue_id, offset) = (place.0.to_string(), place.1.to_string());
        let mut fields = vec![
            ("consumerGroup", group),
            ("topic", topic),
            ("queueId", &queue_id),
            ("queueOffset", &offset),
            ("maxMsgNums", "32"),
            ("commitOffset", "0"),
            ("subVersion", "0"),
            ("expressionType", "TAG"),
        ];
        fields.extend_from_slice(more);
        if more.iter().all(|(name, _value)| *name != "suspendTimeoutMillis") {
            fields.push(("suspendTimeoutMillis", "0"));
        }
        self.ask(RequestCode::PULL_MESSAGE, &fields, b"")
    }

    pub(crate) fn commit(&self, group: &str, topic: &str, queue_id: i32, offset: i64) -> Answer {
        let (queue_id, offset) = (queue_id.to_string(), offset.to_string());
        let fields = [
            ("consumerGroup", group),
            ("topic", topic),
            ("queueId", &queue_id),
            ("commitOffset", &offset),
        ];
        self.ask(RequestCode::UPDATE_CONSUMER_OFFSET, &fields, b"")
    }

    pub(crate) fn committed(&self, group: &str, topic: &str, queue_id: i32) -> Answer {
        let queue_id = queue_id.to_string();
        let fields = [
            ("consumerGroup", group),
            ("topic", topic),
            ("queueId", queue_id.as_str()),
            ("setZeroIfNotFound", "false"),
        ];
        self.ask(RequestCode::QUERY_CONSUMER_OFFSET, &fields, b"")
    }

    /// A heartbeat of the client as a consumer of that group.
    pub(crate) fn heartbeat(&self, data: ConsumerData) -> Answer {
        let beat = HeartbeatData {
            client_id: "10.0.0.2@1".to_owned(),
            consumer_data_set: vec![data].into_iter().collect(),
            ..HeartbeatData::default()
        };
        self.ask(RequestCode::HEART_BEAT, &[], &to_java_json(&beat))
    }
}
