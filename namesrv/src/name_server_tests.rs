//! A whole name server over real sockets of this machine.

use crate::NameServer;
use crate::config::TABLE;
use bytes::Bytes;
use protocol::body::from_slice;
use protocol::body::register::{RegisterBrokerBody, body_crc32};
use protocol::body::route::{ClusterInfo, GetBrokerMemberGroupResponseBody, TopicRouteData};
use protocol::body::stats::KvTable;
use protocol::body::topic::{DataVersion, TopicConfig, TopicList};
use protocol::frame::Frame;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::config_table::{Origin, Settings};
use remoting::{CloseReason, Connection, Connections, Handler, Limits, NoRequests, RpcClient};
use runtime::probe::{IoPath, Refusal};
use std::cell::RefCell;
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(5);

/// A name server with files of its own, and a client of it.
struct World {
    server: Rc<NameServer>,
    client: RpcClient,
    folder: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_dir_all(&self.folder);
    }
}

fn settings(folder: &std::path::Path, extra: &str) -> Settings {
    let mut settings = TABLE.defaults();
    let text = format!(
        "listenPort=0\nbindAddress=127.0.0.1\nkvConfigPath={0}/kv.json\nconfigStorePath={0}/n.properties\n{extra}",
        folder.display()
    );
    settings.read_file("test.conf", &text).unwrap();
    settings
}

fn run<F: Future>(name: &str, extra: &str, test: impl FnOnce(World) -> F) {
    let folder = std::env::temp_dir().join(format!("namesrv-test-{}-{name}", std::process::id()));
    let settings = settings(&folder, extra);
    let io = IoPath::Blocking(Refusal::Configured);
    let work = async {
        let server = NameServer::start(settings, None, |_name| None).await.unwrap();
        let client = RpcClient::new(Connections::new(Limits::default()), Rc::new(NoRequests));
        test(World { server, client, folder }).await;
    };
    let limited = async {
        runtime::timeout(Duration::from_secs(60), work)
            .await
            .expect("the test hangs")
    };
    runtime::core::run_here(&io, limited).unwrap();
}

impl World {
    async fn ask(&self, code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> Frame {
        self.ask_over(&self.client, code, fields, body).await
    }

    async fn ask_over(&self, client: &RpcClient, code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> Frame {
        let address = self.server.address().to_string();
        let write = |writer: &mut protocol::header_writer::HeaderWriter<'_>| {
            fields.iter().for_each(|(key, value)| writer.put(key, value));
        };
        client
            .invoke(&address, code, write, Bytes::copy_from_slice(body), WAIT)
            .await
            .unwrap()
    }

    async fn ok(&self, code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> Frame {
        let answer = self.ask(code, fields, body).await;
        assert_eq!(
            answer.response_code(),
            ResponseCode::SUCCESS,
            "{code}: {:?}",
            answer.remark()
        );
        answer
    }

    async fn register(&self, client: &RpcClient, name: &str, id: &str, address: &str) -> Frame {
        let body = body(&["T", "U", name]).encode(true);
        let fields = [
            ("brokerName", name),
            ("brokerAddr", address),
            ("clusterName", "C"),
            ("haServerAddr", "127.0.0.1:1"),
            ("brokerId", id),
            ("compressed", "true"),
            ("enableActingMaster", "true"),
            ("bodyCrc32", &body_crc32(&body).to_string()),
        ];
        let answer = self
            .ask_over(client, RequestCode::REGISTER_BROKER, &fields, &body)
            .await;
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{:?}", answer.remark());
        answer
    }

    async fn route(&self, topic: &str) -> Option<TopicRouteData> {
        let answer = self
            .ask(RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", topic)], b"")
            .await;
        (answer.response_code() == ResponseCode::SUCCESS).then(|| from_slice(answer.body()).unwrap())
    }

    fn other_client(&self) -> RpcClient {
        RpcClient::new(Connections::new(Limits::default()), Rc::new(NoRequests))
    }
}

fn body(topics: &[&str]) -> RegisterBrokerBody {
    let mut body = RegisterBrokerBody::default();
    for topic in topics {
        let config = TopicConfig {
            topic_name: (*topic).to_owned(),
            ..TopicConfig::default()
        };
        body.topic_config_serialize_wrapper
            .topic_config_table
            .insert((*topic).to_owned(), config);
    }
    body
}

fn topics(answer: &Frame) -> Vec<String> {
    from_slice::<TopicList>(answer.body())
        .unwrap()
        .topic_list
        .into_iter()
        .collect()
}

#[test]
fn a_broker_is_found_until_it_unregisters() {
    run("found", "", |world| async move {
        world.register(&world.client, "b", "0", "127.0.0.1:10911").await;
        let route = world.route("T").await.unwrap();
        assert_eq!(route.broker_datas[0].broker_addrs[&0], "127.0.0.1:10911");
        let info = world.ok(RequestCode::GET_BROKER_CLUSTER_INFO, &[], b"").await;
        assert!(
            from_slice::<ClusterInfo>(info.body())
                .unwrap()
                .broker_addr_table
                .contains_key("b")
        );
        let group = [("clusterName", "C"), ("brokerName", "b")];
        let group = world.ok(RequestCode::GET_BROKER_MEMBER_GROUP, &group, b"").await;
        let group: GetBrokerMemberGroupResponseBody = from_slice(group.body()).unwrap();
        assert_eq!(group.broker_member_group.unwrap().broker_addrs.len(), 1);
        let all = world
            .ok(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &[], b"")
            .await;
        assert_eq!(topics(&all), ["T", "U", "b"]);
        let of_cluster = world
            .ok(RequestCode::GET_TOPICS_BY_CLUSTER, &[("cluster", "C")], b"")
            .await;
        assert_eq!(topics(&of_cluster).len(), 3);
        let system = world.ok(RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS, &[], b"").await;
        assert_eq!(topics(&system), ["C", "b"]);
        let who = [
            ("brokerName", "b"),
            ("brokerAddr", "127.0.0.1:10911"),
            ("clusterName", "C"),
            ("brokerId", "0"),
        ];
        let late = world.other_client();
        world.ask_over(&late, RequestCode::UNREGISTER_BROKER, &who, b"").await;
        assert!(world.route("T").await.is_some(), "another connection has no say");
        world.ok(RequestCode::UNREGISTER_BROKER, &who, b"").await;
        let gone = world
            .ask(RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", "T")], b"")
            .await;
        assert_eq!(gone.response_code(), ResponseCode::TOPIC_NOT_EXIST);
        assert!(
            gone.remark()
                .unwrap()
                .starts_with("No topic route info in name server for the topic: T")
        );
    });
}

#[test]
fn a_broker_that_dies_is_gone_at_once_and_one_that_is_silent_after_its_time() {
    run("dies", "scanNotActiveBrokerInterval=20\n", |world| async move {
        let dying = world.other_client();
        world.register(&dying, "b", "0", "127.0.0.1:10911").await;
        assert!(world.route("T").await.is_some());
        drop(dying);
        for _attempt in 0..100 {
            if world.route("T").await.is_none() {
                break;
            }
            runtime::sleep(Duration::from_millis(5)).await;
        }
        assert!(world.route("T").await.is_none());
        let body = body(&["T", "U"]).encode(false);
        let fields = [
            ("brokerName", "b"),
            ("brokerAddr", "127.0.0.1:10911"),
            ("clusterName", "C"),
            ("haServerAddr", ""),
            ("brokerId", "0"),
            ("heartbeatTimeoutMillis", "1000"),
        ];
        world.ok(RequestCode::REGISTER_BROKER, &fields, &body).await;
        let beat = [
            ("clusterName", "C"),
            ("brokerAddr", "127.0.0.1:10911"),
            ("brokerName", "b"),
        ];
        for _beat in 0..6 {
            runtime::sleep(Duration::from_millis(300)).await;
            world.ok(RequestCode::BROKER_HEARTBEAT, &beat, b"").await;
            assert!(world.route("T").await.is_some());
        }
        runtime::sleep(Duration::from_millis(1200)).await;
        assert!(world.route("T").await.is_none());
    });
}

#[test]
fn a_data_version_is_compared_with_what_was_registered() {
    run("version", "", |world| async move {
        let fields = [
            ("brokerName", "b"),
            ("brokerAddr", "127.0.0.1:10911"),
            ("clusterName", "C"),
            ("brokerId", "0"),
        ];
        let asked = |version: DataVersion| protocol::body::to_java_json(&version);
        let unknown = world
            .ok(RequestCode::QUERY_DATA_VERSION, &fields, &asked(DataVersion::default()))
            .await;
        assert_eq!(unknown.ext().get("changed").unwrap().into_cow(), "true");
        assert!(unknown.body().is_empty());
        world.register(&world.client, "b", "0", "127.0.0.1:10911").await;
        let same = world
            .ok(RequestCode::QUERY_DATA_VERSION, &fields, &asked(DataVersion::default()))
            .await;
        assert_eq!(same.ext().get("changed").unwrap().into_cow(), "false");
        assert_eq!(from_slice::<DataVersion>(same.body()).unwrap(), DataVersion::default());
        let newer = DataVersion {
            counter: 9,
            ..DataVersion::default()
        };
        let changed = world.ok(RequestCode::QUERY_DATA_VERSION, &fields, &asked(newer)).await;
        assert_eq!(changed.ext().get("changed").unwrap().into_cow(), "true");
    });
}

#[test]
fn the_kv_config_outlives_a_restart() {
    run("kv", "orderMessageEnable=true\n", |world| async move {
        let key = [("namespace", "ORDER_TOPIC_CONFIG"), ("key", "T")];
        let missing = world.ask(RequestCode::GET_KV_CONFIG, &key, b"").await;
        assert_eq!(missing.response_code(), ResponseCode::QUERY_NOT_FOUND);
        assert_eq!(
            missing.remark().unwrap(),
            "No config item, Namespace: ORDER_TOPIC_CONFIG Key: T"
        );
        let put = [key[0], key[1], ("value", "b:4")];
        world.ok(RequestCode::PUT_KV_CONFIG, &put, b"").await;
        let list = world.ok(RequestCode::GET_KVLIST_BY_NAMESPACE, &key[..1], b"").await;
        assert_eq!(from_slice::<KvTable>(list.body()).unwrap().table["T"], "b:4");
        let registered = world.register(&world.client, "b", "0", "127.0.0.1:10911").await;
        assert_eq!(from_slice::<KvTable>(registered.body()).unwrap().table["T"], "b:4");
        assert_eq!(world.route("T").await.unwrap().order_topic_conf.as_deref(), Some("b:4"));
        world.server.stop().await;
        let again = NameServer::start(settings(&world.folder, ""), None, |_name| None)
            .await
            .unwrap();
        assert_eq!(again.kv().borrow().get("ORDER_TOPIC_CONFIG", "T"), Some("b:4"));
        again.stop().await;
        std::fs::write(world.folder.join("kv.json"), "{ rubbish").unwrap();
        let refused = NameServer::start(settings(&world.folder, ""), None, |_name| None)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("kv.json"), "{refused}");
    });
}

#[test]
fn deleted_values_are_gone() {
    run("kv-delete", "", |world| async move {
        let key = [("namespace", "n"), ("key", "k"), ("value", "v")];
        world.ok(RequestCode::PUT_KV_CONFIG, &key, b"").await;
        world.ok(RequestCode::DELETE_KV_CONFIG, &key[..2], b"").await;
        let missing = world.ask(RequestCode::GET_KV_CONFIG, &key[..2], b"").await;
        assert_eq!(missing.response_code(), ResponseCode::QUERY_NOT_FOUND);
        let unknown = world
            .ask(RequestCode::GET_KVLIST_BY_NAMESPACE, &[("namespace", "m")], b"")
            .await;
        assert_eq!(unknown.response_code(), ResponseCode::QUERY_NOT_FOUND);
    });
}

#[test]
fn the_configuration_changes_by_an_allow_list_and_is_kept() {
    run("config", "", |world| async move {
        let before = world.ok(RequestCode::GET_NAMESRV_CONFIG, &[], b"").await;
        assert!(String::from_utf8_lossy(before.body()).contains("\norderMessageEnable=false\n"));
        world
            .ok(RequestCode::UPDATE_NAMESRV_CONFIG, &[], b"orderMessageEnable=true\n")
            .await;
        let after = world.ok(RequestCode::GET_NAMESRV_CONFIG, &[], b"").await;
        assert!(String::from_utf8_lossy(after.body()).contains("\norderMessageEnable=true\n"));
        let kept = std::fs::read_to_string(world.folder.join("n.properties")).unwrap();
        assert_eq!(kept, "orderMessageEnable=true\n");
        let path = b"kvConfigPath=/tmp/elsewhere".as_slice();
        for refused in [
            path,
            b"configStorePath=/etc/passwd",
            b"rocketmqHome=/tmp",
            b"configBlackList=",
        ] {
            let answer = world.ask(RequestCode::UPDATE_NAMESRV_CONFIG, &[], refused).await;
            assert_eq!(
                answer.response_code(),
                ResponseCode::NO_PERMISSION,
                "{:?}",
                answer.remark()
            );
        }
        for bad in [
            b"nobody=1".as_slice(),
            b"enableTopicList=perhaps",
            &[0xff, 0xfe],
            b"a=\\u1",
        ] {
            let answer = world.ask(RequestCode::UPDATE_NAMESRV_CONFIG, &[], bad).await;
            assert_eq!(answer.response_code(), ResponseCode::SYSTEM_ERROR);
        }
        world
            .ok(
                RequestCode::UPDATE_NAMESRV_CONFIG,
                &[],
                b"enableAllTopicList=false\nenableTopicList=false",
            )
            .await;
        for code in [
            RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER,
            RequestCode::GET_UNIT_TOPIC_LIST,
        ] {
            let answer = world.ask(code, &[], b"").await;
            assert_eq!(
                (answer.response_code(), answer.remark().unwrap().as_ref()),
                (ResponseCode::SYSTEM_ERROR, "disable")
            );
        }
    });
}

#[test]
fn write_permission_comes_and_goes_for_a_broker() {
    run("perm", "", |world| async move {
        world.register(&world.client, "b", "0", "127.0.0.1:10911").await;
        let name = [("brokerName", "b")];
        let wiped = world.ok(RequestCode::WIPE_WRITE_PERM_OF_BROKER, &name, b"").await;
        assert_eq!(wiped.ext().get("wipeTopicCount").unwrap().into_cow(), "3");
        assert_eq!(world.route("T").await.unwrap().queue_datas[0].perm, 4);
        let added = world.ok(RequestCode::ADD_WRITE_PERM_OF_BROKER, &name, b"").await;
        assert_eq!(added.ext().get("addTopicCount").unwrap().into_cow(), "3");
        assert_eq!(world.route("T").await.unwrap().queue_datas[0].perm, 6);
        world
            .ok(RequestCode::DELETE_TOPIC_IN_NAMESRV, &[("topic", "T")], b"")
            .await;
        assert!(world.route("T").await.is_none());
        let mut route = TopicRouteData::default();
        let queues = protocol::body::route::QueueData {
            broker_name: "b".into(),
            perm: 6,
            ..Default::default()
        };
        route.queue_datas.push(queues);
        let body = protocol::body::to_java_json(&route);
        world
            .ok(RequestCode::REGISTER_TOPIC_IN_NAMESRV, &[("topic", "T")], &body)
            .await;
        assert!(world.route("T").await.is_some());
    });
}

#[test]
fn old_clients_get_bare_keys_and_others_standard_json() {
    run("json", "", |world| async move {
        world.register(&world.client, "b", "0", "127.0.0.1:10911").await;
        let ours = world
            .ok(RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", "T")], b"")
            .await;
        assert!(String::from_utf8_lossy(ours.body()).contains(r#"{"0":"127.0.0.1:10911"}"#));
        let mut old = protocol::version::Version::GO_CLIENT;
        let stream = runtime::TcpStream::connect(world.server.address()).await.unwrap();
        for (standard, expected) in [
            ("false", r#"{0:"127.0.0.1:10911"}"#),
            ("true", r#"{"0":"127.0.0.1:10911"}"#),
        ] {
            old.0 += 1;
            let header = format!(
                r#"{{"code":105,"language":"GO","version":{},"opaque":5,"flag":0,"extFields":{{"topic":"T","acceptStandardJsonOnly":"{standard}"}}}}"#,
                old.0
            );
            let mut bytes = u32::try_from(header.len() + 4).unwrap().to_be_bytes().to_vec();
            bytes.extend_from_slice(&u32::try_from(header.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(header.as_bytes());
            stream.try_write(&[std::io::IoSlice::new(&bytes)]).unwrap();
            let mut buffer = bytes::BytesMut::with_capacity(65_536);
            let answer = loop {
                stream.read(&mut buffer).await.unwrap();
                if let Some(answer) = protocol::frame::split_frame(&mut buffer).unwrap() {
                    break answer;
                }
            };
            assert!(
                String::from_utf8_lossy(answer.body()).contains(expected),
                "{standard}: {:?}",
                answer.body()
            );
        }
    });
}

#[test]
fn every_other_code_is_answered_with_code_3() {
    run("codes", "", |world| async move {
        let served = [
            100, 101, 102, 103, 104, 105, 106, 205, 206, 216, 217, 219, 224, 304, 311, 312, 313, 318, 319, 322, 327,
            901, 904,
        ];
        for code in (0..1100).chain([200_050, -1, i32::MAX]) {
            if served.contains(&code) {
                continue;
            }
            let answer = world.ask(RequestCode(code), &[], b"").await;
            assert_eq!(answer.response_code(), ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
            assert_eq!(answer.remark().unwrap(), format!(" request type {code} not supported"));
        }
    });
}

#[test]
fn rubbish_in_any_request_is_refused_and_nothing_breaks() {
    run("rubbish", "", |world| async move {
        let codes = [
            100, 101, 102, 103, 104, 105, 205, 216, 217, 219, 224, 322, 327, 901, 904,
        ];
        let names = ["../../x", "", " ", "\u{0}", "%n", "a\nb"];
        let bodies: [&[u8]; 5] = [b"", b"{", b"\xff\xff\xff\xff", &[0x78, 0x9c, 1, 2, 3], &[b'['; 5000]];
        for code in codes {
            let none = world.ask(RequestCode(code), &[], b"x").await;
            assert_eq!(
                none.response_code(),
                ResponseCode::SYSTEM_ERROR,
                "{code} without its fields"
            );
            for name in names {
                for body in bodies {
                    let fields = [
                        ("brokerName", name),
                        ("brokerAddr", name),
                        ("clusterName", name),
                        ("haServerAddr", name),
                        ("topic", name),
                        ("brokerId", "0"),
                        ("cluster", name),
                        ("compressed", "true"),
                    ];
                    world.ask(RequestCode(code), &fields, body).await;
                }
            }
        }
        let wrong_crc = [
            ("brokerName", "b"),
            ("brokerAddr", "a:1"),
            ("clusterName", "c"),
            ("haServerAddr", ""),
            ("brokerId", "0"),
            ("bodyCrc32", "7"),
        ];
        let refused = world.ask(RequestCode::REGISTER_BROKER, &wrong_crc, b"{}").await;
        assert_eq!(refused.remark().unwrap(), "crc32 not match");
        let info = world.ok(RequestCode::GET_BROKER_CLUSTER_INFO, &[], b"").await;
        assert_eq!(from_slice::<ClusterInfo>(info.body()).unwrap(), ClusterInfo::default());
    });
}

#[test]
fn routes_wait_for_brokers_if_configured() {
    let extra = "needWaitForService=true\nwaitSecondsForService=1\n";
    run("wait", extra, |world| async move {
        world.register(&world.client, "b", "0", "127.0.0.1:10911").await;
        let early = world
            .ask(RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", "T")], b"")
            .await;
        assert_eq!(early.remark().unwrap(), "name server not ready");
        runtime::sleep(Duration::from_millis(1050)).await;
        assert!(world.route("T").await.is_some());
        assert!(world.route("U").await.is_some());
    });
}

/// Remembers what a broker is told.
#[derive(Default)]
struct Told(RefCell<Vec<(i32, String)>>);

impl Handler for Told {
    fn on_request(&self, _connection: &Rc<Connection>, request: Frame) {
        let field = |name| {
            request
                .ext()
                .get(name)
                .map(|text| text.into_cow().into_owned())
                .unwrap_or_default()
        };
        self.0.borrow_mut().push((
            request.code(),
            format!("{} {}", field("minBrokerId"), field("offlineBrokerAddr")),
        ));
    }
}

#[test]
fn brokers_hear_of_a_new_smallest_id_if_configured() {
    run("min-id", "notifyMinBrokerIdChanged=true\n", |world| async move {
        let listener = runtime::TcpListener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let slave_address = listener.local_address().unwrap().to_string();
        let told = Rc::new(Told::default());
        runtime::spawn(remoting::serve(
            listener,
            Connections::new(Limits::default()),
            Rc::clone(&told) as Rc<dyn Handler>,
        ));
        let master = world.other_client();
        world.register(&master, "b", "0", "127.0.0.1:9").await;
        world.register(&world.client, "b", "1", &slave_address).await;
        for connection in master.connections().all() {
            connection.close(CloseReason::Ours("test"));
        }
        for _attempt in 0..500 {
            if !told.0.borrow().is_empty() {
                break;
            }
            runtime::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(told.0.take(), [(905, "1 127.0.0.1:9".to_owned())]);
    });
}

#[test]
fn a_taken_port_is_named_when_the_start_fails() {
    run("port", "", |world| async move {
        let mut taken = settings(&world.folder, "");
        taken
            .set(
                "listenPort",
                &world.server.address().port().to_string(),
                Origin::Argument("-p"),
            )
            .unwrap();
        let error = NameServer::start(taken, None, |_name| None).await.unwrap_err();
        assert!(error.to_string().contains("listenPort"), "{error}");
    });
}
