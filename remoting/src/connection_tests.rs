//! Connections against real sockets of this machine.

use crate::{
    CloseReason, Connection, ConnectionId, Connections, Handler, Limits, NoRequests, RequestError, RpcClient, serve,
};
use bytes::{Bytes, BytesMut};
use protocol::frame::{Frame, Serialize, split_frame};
use protocol::header_writer::HeaderWriter;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use runtime::probe::IoPath;
use runtime::{TcpListener, TcpStream, sleep, spawn, timeout};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

const ECHO: RequestCode = RequestCode(10);
/// Is held until the test answers it.
const HOLD: RequestCode = RequestCode(11);
const WAIT: Duration = Duration::from_secs(10);

/// Echoes bodies; holds some requests; remembers what happened.
#[derive(Default)]
struct Echo {
    held: RefCell<Vec<(Rc<Connection>, i32)>>,
    seen: Cell<usize>,
    opened: RefCell<Vec<ConnectionId>>,
    closed: RefCell<Vec<(ConnectionId, CloseReason)>>,
}

fn write_reply(out: &mut BytesMut, opaque: i32, body_size: usize) {
    HeaderWriter::response(out, Serialize::Json, ResponseCode::SUCCESS, opaque)
        .finish(body_size)
        .unwrap();
}

impl Handler for Echo {
    fn on_open(&self, connection: &Rc<Connection>) {
        self.opened.borrow_mut().push(connection.id());
    }

    fn on_request(&self, connection: &Rc<Connection>, request: Frame) {
        self.seen.set(self.seen.get() + 1);
        let opaque = request.opaque();
        if request.is_oneway() {
            return;
        }
        if request.request_code() == HOLD {
            self.held.borrow_mut().push((Rc::clone(connection), opaque));
            return;
        }
        let body = request.into_body();
        connection.reply_parts(|out| write_reply(out, opaque, body.len()), [body.clone()]);
    }

    fn on_close(&self, connection: &Rc<Connection>, reason: &CloseReason) {
        self.closed.borrow_mut().push((connection.id(), reason.clone()));
    }
}

impl Echo {
    fn answer_held(&self) {
        for (connection, opaque) in self.held.take() {
            connection.reply(|out| write_reply(out, opaque, 0));
        }
    }
}

struct Ignore;

impl Handler for Ignore {
    fn on_request(&self, connection: &Rc<Connection>, _request: Frame) {
        connection.finish_request();
    }
}

struct Server {
    address: SocketAddr,
    echo: Rc<Echo>,
    connections: Connections,
}

fn start(limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let address = listener.local_address().unwrap();
    let echo = Rc::new(Echo::default());
    let connections = Connections::new(limits);
    spawn(serve(
        listener,
        connections.clone(),
        Rc::clone(&echo) as Rc<dyn Handler>,
    ));
    Server {
        address,
        echo,
        connections,
    }
}

fn run<F: Future>(test: F) -> F::Output {
    let io = IoPath::Blocking(runtime::probe::Refusal::Configured);
    runtime::core::run_here(&io, async {
        timeout(Duration::from_secs(60), test).await.expect("the test hangs")
    })
    .unwrap()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _attempt in 0..2000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("did not happen: {what}");
}

async fn client(server: &Server) -> (Connections, Rc<Connection>) {
    let connections = Connections::new(Limits::default());
    let connection = connections.connect(server.address, Rc::new(Ignore)).await.unwrap();
    (connections, connection)
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match stream.try_write(&[IoSlice::new(bytes)]) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => stream.writable().await.unwrap(),
            Err(_gone) => return,
        }
    }
}

async fn read_frame(stream: &TcpStream, buffer: &mut BytesMut) -> Option<Frame> {
    loop {
        if let Some(frame) = split_frame(buffer).unwrap() {
            return Some(frame);
        }
        buffer.reserve(65536);
        if stream.read(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn request_bytes(code: RequestCode, opaque: i32, flag: i32, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    HeaderWriter::request(&mut out, Serialize::Json, code, opaque, flag)
        .finish(body.len())
        .unwrap();
    out.extend_from_slice(body);
    out
}

#[test]
fn bodies_of_every_size_come_back_whole_and_to_their_request() {
    run(async {
        let server = start(Limits::default());
        let (_mine, connection) = client(&server).await;
        let sizes = [
            0, 1, 63, 64, 511, 512, 2048, 2049, 65_535, 65_536, 70_000, 1_000_000, 15_000_000,
        ];
        let requests: Vec<_> = sizes
            .iter()
            .map(|&size| {
                let body = Bytes::from(vec![u8::try_from(size % 251).unwrap(); size]);
                (body.clone(), connection.request(ECHO, |_header| {}, body).unwrap())
            })
            .collect();
        for (body, answer) in requests {
            let answer = timeout(WAIT, answer).await.unwrap().unwrap();
            assert_eq!(answer.body().len(), body.len());
            assert!(answer.body() == &body);
        }
        assert_eq!(connection.waiting(), 0);
    });
}

#[test]
fn frames_that_come_byte_by_byte_are_put_together() {
    run(async {
        let server = start(Limits::default());
        let stream = TcpStream::connect(server.address).await.unwrap();
        let bytes = request_bytes(ECHO, 7, 0, b"body");
        for byte in &bytes {
            write_all(&stream, &[*byte]).await;
            runtime::yield_now().await;
        }
        let answer = read_frame(&stream, &mut BytesMut::new()).await.unwrap();
        assert_eq!((answer.opaque(), &answer.body()[..]), (7, &b"body"[..]));
    });
}

#[test]
fn rubbish_closes_its_connection_and_no_other() {
    run(async {
        let server = start(Limits::default());
        let (_mine, good) = client(&server).await;
        let rubbish: [&[u8]; 9] = [
            &[0x16, 3, 1, 2, 0],
            b"GET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            &[0xff; 8],
            &[0, 0, 0, 3, 0, 0, 0],
            &[1, 0, 0, 1, 0, 0, 0, 9],
            &[0, 0, 0, 9, 0, 0, 0, 200, 1, 2, 3, 4, 5],
            &[0, 0, 0, 9, 7, 0, 0, 2, b'{', b'}', 0, 0, 0],
            &[0, 0, 0, 9, 0, 0, 0, 5, b'{', b'{', b'{', b'{', b'{'],
        ];
        for bytes in rubbish {
            let stream = TcpStream::connect(server.address).await.unwrap();
            write_all(&stream, bytes).await;
            let ended = timeout(WAIT, read_frame(&stream, &mut BytesMut::new())).await;
            assert!(ended.unwrap().is_none(), "{bytes:?} must end its connection");
            good.invoke(ECHO, |_header| {}, Bytes::from_static(b"still here"), WAIT)
                .await
                .unwrap();
        }
        until("all bad ones are gone", || server.connections.count() == 1).await;
        let closed = server.echo.closed.borrow();
        assert_eq!(closed.len(), rubbish.len());
        for (_id, reason) in closed.iter() {
            assert!(
                matches!(reason, CloseReason::Malformed(_) | CloseReason::OtherProtocol(_)),
                "{reason:?}"
            );
        }
    });
}

#[test]
fn at_the_in_flight_bound_reading_stops_and_goes_on_when_answers_have_gone() {
    run(async {
        let server = start(Limits {
            in_flight_max: 4,
            ..Limits::default()
        });
        let (_mine, connection) = client(&server).await;
        let mut answers: Vec<_> = (0..20)
            .map(|_request| connection.request(HOLD, |_header| {}, Bytes::new()).unwrap())
            .collect();
        until("four are held", || server.echo.held.borrow().len() == 4).await;
        sleep(Duration::from_millis(50)).await;
        assert_eq!(
            server.echo.seen.get(),
            4,
            "no more than the bound may reach the handler"
        );
        while !answers.is_empty() {
            let open = answers.len();
            until("some are held", || server.echo.held.borrow().len() == open.min(4)).await;
            server.echo.answer_held();
            for answer in answers.drain(..open.min(4)) {
                timeout(WAIT, answer).await.unwrap().unwrap();
            }
        }
        assert_eq!(server.echo.seen.get(), 20);
    });
}

#[test]
fn oneway_requests_do_not_use_up_the_bound() {
    run(async {
        let server = start(Limits {
            in_flight_max: 2,
            ..Limits::default()
        });
        let (_mine, connection) = client(&server).await;
        for _request in 0..50 {
            connection.notify(ECHO, |_header| {}, Bytes::from_static(b"x")).unwrap();
        }
        connection.invoke(ECHO, |_header| {}, Bytes::new(), WAIT).await.unwrap();
        assert_eq!(server.echo.seen.get(), 51);
    });
}

#[test]
fn a_peer_that_does_not_read_is_closed_at_the_output_bound() {
    run(async {
        let server = start(Limits {
            output_max: 32 << 20,
            ..Limits::default()
        });
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (_mine, good) = client(&server).await;
        let body = vec![b'x'; 1 << 20];
        let mut sent = 0;
        while server.echo.closed.borrow().is_empty() && sent < 500 {
            let bytes = request_bytes(ECHO, sent, 0, &body);
            if timeout(Duration::from_secs(2), write_all(&stream, &bytes))
                .await
                .is_err()
            {
                break;
            }
            sent += 1;
        }
        until("it is closed", || !server.echo.closed.borrow().is_empty()).await;
        let closed = server.echo.closed.borrow().clone();
        assert!(
            matches!(closed[..], [(_, CloseReason::SlowReader { .. })]),
            "{closed:?}"
        );
        good.invoke(ECHO, |_header| {}, Bytes::new(), WAIT).await.unwrap();
    });
}

#[test]
fn a_peer_that_stops_reading_is_closed_after_the_stall_limit() {
    run(async {
        let stall = Duration::from_millis(300);
        let server = start(Limits {
            stall,
            ..Limits::default()
        });
        let stream = TcpStream::connect(server.address).await.unwrap();
        let bytes = request_bytes(ECHO, 1, 0, &vec![b'x'; 15 << 20]);
        write_all(&stream, &bytes).await;
        until("it is closed", || !server.echo.closed.borrow().is_empty()).await;
        let closed = server.echo.closed.borrow().clone();
        assert!(
            matches!(closed[..], [(_, CloseReason::SlowReader { queued })] if queued > 0),
            "{closed:?}"
        );
    });
}

/// Room for one large frame of this size, and not for two.
fn room_for_one(slow_frame: Duration) -> (Server, Vec<u8>) {
    let body = vec![b'x'; 800 << 10];
    let server = start(Limits {
        large_frames_max: 1 << 20,
        slow_frame,
        ..Limits::default()
    });
    (server, body)
}

#[test]
fn large_frames_take_turns_when_there_is_no_room_and_all_come_through() {
    run(async {
        let (server, body) = room_for_one(Duration::from_secs(60));
        let slow = TcpStream::connect(server.address).await.unwrap();
        let bytes = request_bytes(ECHO, 1, 0, &body);
        write_all(&slow, &bytes[..400 << 10]).await;
        until("half a frame has room", || server.connections.large_room() < 1 << 20).await;
        let (_mine, other) = client(&server).await;
        let waits = other.request(ECHO, |_header| {}, body.clone().into()).unwrap();
        let (_mine, third) = client(&server).await;
        for _small in 0..20 {
            third
                .invoke(ECHO, |_header| {}, Bytes::from(vec![1; 60_000]), WAIT)
                .await
                .unwrap();
        }
        assert_eq!(server.echo.seen.get(), 20, "the second large frame has to wait");
        write_all(&slow, &bytes[400 << 10..]).await;
        assert_eq!(*read_frame(&slow, &mut BytesMut::new()).await.unwrap().body(), body);
        let answer = timeout(WAIT, waits).await.unwrap().unwrap();
        assert_eq!(*answer.body(), body);
        until("all room is back", || server.connections.large_room() == 1 << 20).await;
        assert!(server.echo.closed.borrow().is_empty());
    });
}

#[test]
fn who_holds_room_that_others_wait_for_is_closed_after_a_while() {
    run(async {
        let slow_frame = Duration::from_millis(200);
        let (server, body) = room_for_one(slow_frame);
        let slow = TcpStream::connect(server.address).await.unwrap();
        let bytes = request_bytes(ECHO, 1, 0, &body);
        write_all(&slow, &bytes[..400 << 10]).await;
        until("half a frame has room", || server.connections.large_room() < 1 << 20).await;
        sleep(slow_frame * 2).await;
        assert!(server.echo.closed.borrow().is_empty(), "nobody waits");
        let (_mine, other) = client(&server).await;
        let answer = other
            .invoke(ECHO, |_header| {}, body.clone().into(), WAIT)
            .await
            .unwrap();
        assert_eq!(*answer.body(), body);
        let closed = server.echo.closed.borrow().clone();
        assert!(
            matches!(closed[..], [(_, CloseReason::SlowSender(after))] if after == slow_frame),
            "{closed:?}"
        );
    });
}

#[test]
fn a_frame_above_the_room_of_all_is_taken_alone() {
    run(async {
        let (server, _body) = room_for_one(Duration::from_secs(60));
        let (_mine, connection) = client(&server).await;
        let body = Bytes::from(vec![7; 3 << 20]);
        let answers: Vec<_> = (0..3)
            .map(|_request| connection.request(ECHO, |_header| {}, body.clone()).unwrap())
            .collect();
        for answer in answers {
            assert_eq!(*timeout(WAIT, answer).await.unwrap().unwrap().body(), body);
        }
    });
}

#[test]
fn a_silent_connection_is_closed_and_a_busy_one_is_not() {
    run(async {
        let idle = Duration::from_millis(400);
        let server = start(Limits {
            idle,
            ..Limits::default()
        });
        let (_mine, busy) = client(&server).await;
        let (_theirs, _silent) = client(&server).await;
        until("both are there", || server.connections.count() == 2).await;
        for _turn in 0..12 {
            busy.invoke(ECHO, |_header| {}, Bytes::new(), WAIT).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(server.connections.count(), 1);
        let closed = server.echo.closed.borrow().clone();
        assert!(matches!(closed[..], [(_, CloseReason::Idle(_))]), "{closed:?}");
    });
}

#[test]
fn a_quiet_connection_gives_its_buffers_back_and_works_on() {
    run(async {
        let server = start(Limits {
            idle: Duration::from_secs(2),
            ..Limits::default()
        });
        let (_mine, connection) = client(&server).await;
        connection
            .invoke(ECHO, |_header| {}, Bytes::from(vec![1; 300_000]), WAIT)
            .await
            .unwrap();
        sleep(Duration::from_millis(900)).await;
        connection
            .invoke(ECHO, |_header| {}, Bytes::from(vec![2; 300_000]), WAIT)
            .await
            .unwrap();
        assert_eq!(server.connections.count(), 1);
    });
}

#[test]
fn a_server_asks_its_peer_and_gets_the_answer() {
    run(async {
        let server = start(Limits::default());
        let mine = Connections::new(Limits::default());
        let answering = Rc::new(Echo::default());
        let _connection = mine
            .connect(server.address, Rc::clone(&answering) as Rc<dyn Handler>)
            .await
            .unwrap();
        until("it is accepted", || server.connections.count() == 1).await;
        let id = server.echo.opened.borrow()[0];
        let to_peer = server.connections.get(id).unwrap();
        let answer = to_peer
            .invoke(ECHO, |header| header.put("k", "v"), Bytes::from_static(b"ping"), WAIT)
            .await
            .unwrap();
        assert_eq!(&answer.body()[..], b"ping");
        let late = to_peer
            .invoke(HOLD, |_header| {}, Bytes::new(), Duration::from_millis(50))
            .await;
        assert!(matches!(late, Err(RequestError::TimedOut { .. })), "{late:?}");
        answering.answer_held();
        let next = to_peer
            .invoke(ECHO, |_header| {}, Bytes::from_static(b"next"), WAIT)
            .await
            .unwrap();
        assert_eq!(
            &next.body()[..],
            b"next",
            "the late answer must not be taken for this one"
        );
    });
}

#[test]
fn requests_under_way_fail_when_the_connection_ends() {
    run(async {
        let server = start(Limits::default());
        let (_mine, connection) = client(&server).await;
        let answer = connection.request(HOLD, |_header| {}, Bytes::new()).unwrap();
        until("it is held", || server.echo.held.borrow().len() == 1).await;
        for accepted in server.connections.all() {
            accepted.close(CloseReason::Ours("test"));
        }
        let failed = timeout(WAIT, answer).await.unwrap();
        assert!(matches!(failed, Err(RequestError::Closed { .. })), "{failed:?}");
        let refused = connection
            .request(ECHO, |_header| {}, Bytes::new())
            .map(|_invocation| ());
        assert!(matches!(refused, Err(RequestError::Closed { .. })), "{refused:?}");
    });
}

#[test]
fn an_id_finds_nothing_after_its_connection_ended_even_if_the_place_is_used_again() {
    run(async {
        let server = start(Limits::default());
        let (_mine, first) = client(&server).await;
        first.invoke(ECHO, |_header| {}, Bytes::new(), WAIT).await.unwrap();
        let old = server.echo.opened.borrow()[0];
        first.close(CloseReason::Ours("test"));
        until("it is gone", || server.connections.count() == 0).await;
        let (_theirs, second) = client(&server).await;
        second.invoke(ECHO, |_header| {}, Bytes::new(), WAIT).await.unwrap();
        let new = server.echo.opened.borrow()[1];
        assert_eq!(old.key, new.key, "the place is used again");
        assert!(server.connections.get(old).is_none());
        assert!(server.connections.get(new).is_some());
    });
}

#[test]
fn close_all_delivers_what_is_queued_first() {
    run(async {
        let server = start(Limits::default());
        let stream = TcpStream::connect(server.address).await.unwrap();
        let body = vec![b'x'; 8 << 20];
        write_all(&stream, &request_bytes(ECHO, 5, 0, &body)).await;
        until("the answer is queued", || server.connections.statistics().queued > 0).await;
        let connections = server.connections.clone();
        let closing = spawn(async move { connections.close_all("test", Duration::from_secs(20)).await });
        let mut buffer = BytesMut::new();
        let answer = timeout(WAIT, read_frame(&stream, &mut buffer)).await.unwrap().unwrap();
        assert_eq!(answer.body().len(), body.len());
        assert!(timeout(WAIT, read_frame(&stream, &mut buffer)).await.unwrap().is_none());
        timeout(WAIT, closing).await.unwrap().unwrap();
        assert_eq!(server.connections.count(), 0);
    });
}

#[test]
fn connections_beyond_the_limit_are_refused_and_the_others_served() {
    run(async {
        let server = start(Limits {
            connections_max: 2,
            ..Limits::default()
        });
        let (_a, first) = client(&server).await;
        let (_b, second) = client(&server).await;
        first.invoke(ECHO, |_header| {}, Bytes::new(), WAIT).await.unwrap();
        second.invoke(ECHO, |_header| {}, Bytes::new(), WAIT).await.unwrap();
        let third = TcpStream::connect(server.address).await.unwrap();
        assert!(
            timeout(WAIT, read_frame(&third, &mut BytesMut::new()))
                .await
                .unwrap()
                .is_none()
        );
        first.invoke(ECHO, |_header| {}, Bytes::new(), WAIT).await.unwrap();
        assert_eq!(server.connections.statistics().refused, 1);
    });
}

#[test]
fn every_open_is_followed_by_one_close() {
    run(async {
        let server = start(Limits::default());
        for _round in 0..20 {
            let (_mine, connection) = client(&server).await;
            connection.invoke(ECHO, |_header| {}, Bytes::new(), WAIT).await.unwrap();
        }
        until("all are gone", || server.connections.count() == 0).await;
        let mut closed: Vec<_> = server.echo.closed.borrow().iter().map(|(id, _reason)| *id).collect();
        let mut opened = server.echo.opened.borrow().clone();
        closed.sort_unstable();
        opened.sort_unstable();
        assert_eq!(opened, closed);
        assert_eq!(opened.len(), 20);
    });
}

fn rpc() -> RpcClient {
    RpcClient::new(Connections::new(Limits::default()), Rc::new(NoRequests))
}

async fn echo(client: &RpcClient, address: &str) -> Result<Frame, RequestError> {
    client
        .invoke(address, ECHO, |_header| {}, Bytes::from_static(b"x"), WAIT)
        .await
}

#[test]
fn requests_of_a_client_share_one_connection() {
    run(async {
        let server = start(Limits::default());
        let address = server.address.to_string();
        let client = rpc();
        let tasks: Vec<_> = (0..50)
            .map(|_task| {
                let (client, address) = (client.clone(), address.clone());
                spawn(async move { echo(&client, &address).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(server.connections.statistics().made, 1);
    });
}

#[test]
fn a_client_connects_again_after_its_connection_ended() {
    run(async {
        let server = start(Limits::default());
        let address = server.address.to_string();
        let client = rpc();
        for round in 1..4 {
            echo(&client, &address).await.unwrap();
            assert_eq!(server.connections.statistics().made, round);
            for connection in server.connections.all() {
                connection.close(CloseReason::Ours("test"));
            }
            until("the client knows", || client.open_connection(&address).is_none()).await;
        }
    });
}

#[test]
fn a_server_that_is_down_is_left_alone_for_a_while_and_then_found_again() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_address().unwrap();
        drop(listener);
        let client = rpc();
        for _attempt in 0..100 {
            let error = echo(&client, &address.to_string()).await.unwrap_err();
            assert!(matches!(error, RequestError::Connect { .. }), "{error}");
        }
        let listener = TcpListener::bind(address, false).unwrap();
        let connections = Connections::new(Limits::default());
        spawn(serve(listener, connections, Rc::new(Echo::default())));
        for _attempt in 0..200 {
            if echo(&client, &address.to_string()).await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("the server is up and not found");
    });
}

#[test]
fn an_address_that_is_none_is_named_in_the_error() {
    run(async {
        let error = echo(&rpc(), "nonsense").await.unwrap_err();
        assert!(error.to_string().contains("\"nonsense\" is not host:port"), "{error}");
    });
}
