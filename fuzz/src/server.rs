//! A whole server against the bytes of one connection: sniffing, frames in parts, dispatch, handlers. It is the name server, in
//! a simulated network, so that a run is small and repeats exactly.

use crate::choose;
use bytes::{Bytes, BytesMut};
use namesrv::NameServer;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{Connections, Limits, NoRequests, RpcClient};
use runtime::TcpStream;
use runtime::sim::{Faults, Options, Simulation};
use std::io::IoSlice;
use std::rc::Rc;
use std::time::Duration;

const ADDRESS: &str = "10.0.0.1:9876";
/// Virtual time in which a server that is well answers.
const LIMIT: Duration = Duration::from_secs(1);

/// How finely the bytes are parted, then the bytes. Whatever they are, another client is answered afterwards.
pub(crate) fn connection(input: &[u8]) {
    let Some((step, input)) = choose(input, 64) else { return };
    let input = input.to_vec();
    let options = Options {
        faults: Faults::none(),
        ..Options::default()
    };
    let simulation = Simulation::new(1, options);
    let server = simulation.node("server", [10, 0, 0, 1].into());
    simulation.start(server, serve);
    let peer = simulation.node("peer", [10, 0, 0, 2].into());
    simulation.start(peer, runtime::signal::terminated);
    simulation.run_for(Duration::from_millis(10));
    let task = async move {
        hostile(input, step * 16 + 1).await;
        honest().await
    };
    match simulation.block_on(peer, task, Duration::from_secs(60)) {
        Ok(code) => assert_eq!(code, ResponseCode::SUCCESS, "an honest client"),
        Err(stopped) => panic!("an honest client waits: {stopped}"),
    }
}

async fn serve() {
    let mut settings = namesrv::config::TABLE.defaults();
    let text = "kvConfigPath=/data/kv.json\nconfigStorePath=/data/n.properties\n";
    settings.read_file("simulated.conf", text).unwrap();
    let _server = NameServer::start(settings, None, |_name| None).await.unwrap();
    std::future::pending::<()>().await;
}

/// Writes the bytes and reads what comes, until nothing comes any more or the server hangs up.
async fn hostile(input: Vec<u8>, step: usize) {
    let stream = TcpStream::connect(ADDRESS.parse().unwrap()).await.unwrap();
    let mut answers = BytesMut::new();
    for part in input.chunks(step) {
        if stream.try_write(&[IoSlice::new(part)]).is_err() {
            break;
        }
        runtime::sleep(Duration::from_millis(1)).await;
    }
    let quiet = Duration::from_millis(50);
    while let Ok(Ok(count)) = runtime::timeout(quiet, stream.read(&mut answers)).await {
        if count == 0 {
            break;
        }
    }
}

async fn honest() -> ResponseCode {
    let client = RpcClient::new(Connections::new(Limits::default()), Rc::new(NoRequests));
    let code = RequestCode::GET_BROKER_CLUSTER_INFO;
    let answer = client.invoke(ADDRESS, code, |_| {}, Bytes::new(), LIMIT).await;
    answer.expect("the server answers").response_code()
}
