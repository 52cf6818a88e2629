//! The files of RocketMQ's distribution/conf, made from what they say: keys, values and spelling.

/// A file with its folder's name and its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub folder: &'static str,
    pub name: String,
    pub text: String,
}

fn sample(folder: &'static str, name: &str, lines: &[&str]) -> Sample {
    Sample {
        folder,
        name: name.to_owned(),
        text: lines.iter().map(|line| format!("{line}\n")).collect(),
    }
}

/// One of the seven-key files: `broker-a.properties`, and `broker-a-s.properties` for a slave.
pub fn broker(folder: &'static str, broker_name: &str, role: &str) -> Sample {
    let (suffix, id) = if role == "SLAVE" { ("-s", 1) } else { ("", 0) };
    sample(
        folder,
        &format!("{broker_name}{suffix}.properties"),
        &[
            "brokerClusterName=DefaultCluster",
            &format!("brokerName={broker_name}"),
            &format!("brokerId={id}"),
            "deleteWhen=04",
            "fileReservedTime=48",
            &format!("brokerRole={role}"),
            "flushDiskType=ASYNC_FLUSH",
        ],
    )
}

/// The masters that run as they are, each with its slave if the folder has one.
pub fn runnable() -> Vec<(Sample, Option<Sample>)> {
    let mut found = vec![(
        sample(
            ".",
            "broker.conf",
            &[
                "brokerClusterName = DefaultCluster",
                "brokerName = broker-a",
                "brokerId = 0",
                "deleteWhen = 04",
                "fileReservedTime = 48",
                "brokerRole = ASYNC_MASTER",
                "flushDiskType = ASYNC_FLUSH",
            ],
        ),
        None,
    )];
    for name in ["broker-a", "broker-b", "broker-trace"] {
        found.push((broker("2m-noslave", name, "ASYNC_MASTER"), None));
    }
    for (folder, role) in [("2m-2s-async", "ASYNC_MASTER"), ("2m-2s-sync", "SYNC_MASTER")] {
        for name in ["broker-a", "broker-b"] {
            found.push((broker(folder, name, role), Some(broker(folder, name, "SLAVE"))));
        }
    }
    found
}

/// The brokers' files for features that are not built, with the key that the one line must name.
pub fn refused() -> Vec<(Sample, &'static str)> {
    let mut found = Vec::new();
    for (id, port) in [("n0", 30911), ("n1", 30921), ("n2", 30931)] {
        let store = format!("/tmp/rmqstore/node{}", &id[1..]);
        let lines = [
            "brokerClusterName = RaftCluster",
            "brokerName=RaftNode00",
            &format!("listenPort={port}"),
            "namesrvAddr=127.0.0.1:9876",
            &format!("storePathRootDir={store}"),
            &format!("storePathCommitLog={store}/commitlog"),
            "enableDLegerCommitLog=true",
            "dLegerGroup=RaftNode00",
            "dLegerPeers=n0-127.0.0.1:40911;n1-127.0.0.1:40912;n2-127.0.0.1:40913",
            &format!("dLegerSelfId={id}"),
            "sendMessageThreadPoolNums=16",
        ];
        found.push((
            sample("dledger", &format!("broker-{id}.conf"), &lines),
            "enableDLegerCommitLog",
        ));
    }
    for (id, port) in [("n0", 30911), ("n1", 30921)] {
        let store = format!("/tmp/rmqstore/node{}", &id[1..]);
        let lines = [
            "brokerClusterName = DefaultCluster",
            "brokerName = broker-a",
            "brokerId = -1",
            "brokerRole = SLAVE",
            "deleteWhen = 04",
            "fileReservedTime = 48",
            "enableControllerMode = true",
            "controllerAddr = 127.0.0.1:9878",
            "namesrvAddr = 127.0.0.1:9876",
            "allAckInSyncStateSet=true",
            &format!("listenPort={port}"),
            &format!("storePathRootDir={store}"),
            &format!("storePathCommitLog={store}/commitlog"),
        ];
        let name = format!("broker-{id}.conf");
        found.push((sample("controller/quick-start", &name, &lines), "enableControllerMode"));
    }
    for number in ["1", "2"] {
        let lines = [
            "listenPort=10811",
            "namesrvAddr=127.0.0.1:9876",
            "fetchNamesrvAddrByAddressServer=false",
            "brokerConfigPaths=/conf/broker-a.conf:/conf/broker-b.conf",
        ];
        let name = format!("broker-container{number}.conf");
        found.push((sample("container/2container-2m-2s", &name, &lines), "brokerConfigPaths"));
    }
    found
}
