//! What a request costs the server: 1 KiB in, 64 bytes out, over loopback.
//!
//! `cargo run --release -p remoting --example echo -- CONNECTIONS DEPTH SECONDS`. The server runs on one core, the clients on
//! another. Printed: requests a second, and CPU time of the server's thread a request, from the kernel's `schedstat`.

use bytes::Bytes;
use protocol::frame::Frame;
use protocol::header_writer::HeaderWriter;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use remoting::{Connection, Connections, Handler, Limits, NoRequests, serve};
use runtime::probe::{IoPath, Refusal};
use runtime::{TcpListener, spawn};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

const REQUEST_BODY: usize = 900;

struct Echo(Cell<u64>);

impl Handler for Echo {
    fn on_request(&self, connection: &Rc<Connection>, request: Frame) {
        self.0.set(self.0.get() + 1);
        connection.reply(|out| {
            let writer = HeaderWriter::response(out, request.serialize(), ResponseCode::SUCCESS, request.opaque());
            // A response this short always fits.
            let _fits = writer.finish(0);
        });
    }
}

/// CPU time of this thread so far.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0))
}

fn serve_until(seconds: u64, address: &mpsc::Sender<SocketAddr>) -> std::io::Result<(u64, Duration)> {
    runtime::core::run_here(&io(), async {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), false)?;
        // The receiver waits for exactly this.
        let _received = address.send(listener.local_address()?);
        let echo = Rc::new(Echo(Cell::new(0)));
        spawn(serve(
            listener,
            Connections::new(Limits::default()),
            Rc::clone(&echo) as Rc<dyn Handler>,
        ));
        runtime::sleep(Duration::from_secs(1)).await;
        let (count, cpu) = (echo.0.get(), cpu_time());
        runtime::sleep(Duration::from_secs(seconds)).await;
        Ok((echo.0.get() - count, cpu_time().saturating_sub(cpu)))
    })?
}

async fn load(address: SocketAddr, connections: usize, depth: usize) -> std::io::Result<()> {
    let mine = Connections::new(Limits::default());
    let body = Bytes::from(vec![b'x'; REQUEST_BODY]);
    for _connection in 0..connections {
        let connection = mine.connect(address, Rc::new(NoRequests)).await?;
        for _request in 0..depth {
            let (connection, body) = (Rc::clone(&connection), body.clone());
            spawn(async move {
                while let Ok(answer) = connection.request(RequestCode::SEND_MESSAGE_V2, |_header| {}, body.clone()) {
                    if answer.await.is_err() {
                        break;
                    }
                }
            });
        }
    }
    std::future::pending().await
}

fn io() -> IoPath {
    IoPath::Blocking(Refusal::Configured)
}

fn main() -> std::io::Result<()> {
    let mut numbers = std::env::args()
        .skip(1)
        .map(|argument| argument.parse::<u64>().map_err(std::io::Error::other));
    let mut number = |default| numbers.next().unwrap_or(Ok(default));
    let (connections, depth, seconds) = (number(64)?, number(1)?, number(5)?);
    let (sender, receiver) = mpsc::channel();
    let server = std::thread::spawn(move || serve_until(seconds, &sender));
    let address = receiver.recv().map_err(std::io::Error::other)?;
    let size = |number| usize::try_from(number).map_err(std::io::Error::other);
    let (connections, depth) = (size(connections)?, size(depth)?);
    std::thread::spawn(move || runtime::core::run_here(&io(), load(address, connections, depth)));
    let (count, cpu) = server
        .join()
        .map_err(|_panic| std::io::Error::other("the server panicked"))??;
    let a_second = count / seconds.max(1);
    let each = cpu.as_nanos() / u128::from(count.max(1));
    let line = format!("connections {connections} depth {depth}: {a_second} requests a second, {each} ns CPU each\n");
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes())
}
