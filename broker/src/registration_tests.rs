//! An idle broker beside a name server, in a simulated world: how seldom it wakes, and how soon it is back after a break.

use super::*;
use crate::core::ShardMap;
use crate::replicas::Replicas;
use protocol::header_writer::HeaderWriter;
use protocol::model::ShardCount;
use remoting::{Connections, Limits};
use runtime::TcpListener;
use runtime::mailbox::Mailboxes;
use runtime::sim::{NodeId, Options, Simulation};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};

/// Says yes to everything, and counts.
struct Agreeable {
    requests: Rc<Cell<u32>>,
}

impl Handler for Agreeable {
    fn on_request(&self, connection: &Rc<Connection>, request: Frame) {
        self.requests.set(self.requests.get() + 1);
        if !request.is_oneway() {
            let (serialize, opaque) = (request.serialize(), request.opaque());
            connection.reply(|out| {
                let header = HeaderWriter::response(out, serialize, ResponseCode::SUCCESS, opaque);
                header.finish(0).unwrap();
            });
        }
    }
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

async fn name_server(requests: Rc<Cell<u32>>) {
    let listener = TcpListener::bind(SocketAddr::new(ip(1), 9876), false).unwrap();
    let handler = Rc::new(Agreeable { requests });
    let _never = remoting::serve(listener, Connections::new(Limits::default()), handler).await;
}

/// What of a broker with one core has timers of its own while nobody uses it, without its shards.
async fn broker() {
    let (config, _findings) = crate::config::tests::load("namesrvAddr=10.0.0.1:9876");
    let settings = Settings::new(config).unwrap();
    let control = Control::new(&settings);
    let core = Core::new(
        ShardMap::new(ShardCount::ONE, 1),
        &settings,
        Mailboxes::new(1, 16).post(0),
        Connections::new(Limits::default()),
        Replicas::default(),
        Some(Rc::clone(&control)),
    );
    runtime::spawn(Rc::clone(&core).run_inbox());
    let posting = Rc::clone(&core);
    runtime::spawn(async move { posting.run_post().await });
    runtime::spawn(crate::handlers::admin::sample_stats(
        Rc::clone(&core),
        Rc::clone(&control),
    ));
    let _registration = start(&core, &control);
    std::future::pending::<()>().await;
}

/// The world, the name server, the broker, and how many requests the name server has had.
fn world() -> (Simulation, NodeId, NodeId, Rc<Cell<u32>>) {
    let simulation = Simulation::new(7, Options::default());
    let (server, client) = (simulation.node("namesrv", ip(1)), simulation.node("broker", ip(2)));
    let requests = Rc::new(Cell::new(0));
    let counted = Rc::clone(&requests);
    simulation.start(server, move || name_server(Rc::clone(&counted)));
    simulation.start(client, broker);
    simulation.run_for(Duration::from_secs(60));
    assert!(requests.get() > 0, "the broker has not registered");
    (simulation, server, client, requests)
}

#[test]
fn an_idle_broker_and_its_name_server_are_woken_less_than_twice_a_second() {
    const SECONDS: u64 = 600;
    let (simulation, _server, _client, requests) = world();
    let (polls, told) = (simulation.report().polls, requests.get());
    simulation.run_for(Duration::from_secs(SECONDS));
    let (polls, told) = (simulation.report().polls - polls, requests.get() - told);
    assert!((19..=21).contains(&told), "{told} requests, not one each 30 s");
    assert!(polls < 2 * SECONDS, "{polls} polls of tasks in {SECONDS} s");
}

#[test]
fn a_connection_that_breaks_is_mended_at_once_and_a_server_that_comes_back_is_told() {
    let (simulation, server, client, requests) = world();
    // Just after a registration, so that the period brings none for 30 s.
    let told = requests.get();
    simulation
        .run_until(|| requests.get() > told, Duration::from_secs(40))
        .unwrap();
    let told = requests.get();
    simulation.run_for(Duration::from_secs(1));
    simulation.reset_connections(server, client);
    simulation.run_for(Duration::from_secs(3));
    assert_eq!(requests.get(), told + 1, "within a brokerHeartbeatInterval");
    simulation.kill(server);
    simulation.run_for(Duration::from_secs(90));
    let told = requests.get();
    simulation.restart(server);
    simulation
        .run_until(|| requests.get() > told, Duration::from_secs(20))
        .unwrap();
}
