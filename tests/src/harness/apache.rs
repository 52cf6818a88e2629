//! Apache's own servers, started from their jars, to prove the tests against what they are meant to describe.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of jars, when the tests are to run against Apache.
pub(super) fn jars() -> Option<PathBuf> {
    std::env::var_os("RINGMQ_TEST_APACHE_LIB").map(PathBuf::from)
}

/// The folder of jars for tests that have servers of Apache's beside ours.
pub fn apache_jars() -> Option<PathBuf> {
    std::env::var_os("RINGMQ_APACHE_LIB").map(PathBuf::from)
}

/// Apache's name server or broker; takes the arguments of `mqnamesrv` and `mqbroker`.
pub fn apache_server(jars: &Path, name: &str, home: &Path) -> Command {
    let class = match name {
        "mqnamesrv" => "org.apache.rocketmq.namesrv.NamesrvStartup",
        "mqbroker" => "org.apache.rocketmq.broker.BrokerStartup",
        other => panic!("{other} is not a server of Apache's"),
    };
    let mut command = Command::new("java");
    command
        .env("ROCKETMQ_HOME", home)
        .args(["-Xms512m", "-Xmx1g", "-XX:MaxDirectMemorySize=2g"])
        .arg(format!("-Duser.home={}", home.display()))
        .arg("-cp")
        .arg(format!("{}/*", jars.display()))
        .arg(class);
    command
}
