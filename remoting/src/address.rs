//! Addresses as people write them: `host:port`, and lists of them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// The addresses of a list such as `namesrvAddr`: `host:port`, parted by `;`. Blanks and empty parts are dropped.
#[must_use]
pub fn split_addresses(list: &str) -> Vec<String> {
    list.split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The socket address of `host:port`. A name is looked up by the system's resolver, on the blocking pool; IPv4 comes first,
/// since RocketMQ's clients announce themselves that way.
///
/// # Errors
/// When it is not `host:port`, or no host of that name is known.
pub async fn resolve(address: &str) -> io::Result<SocketAddr> {
    if let Ok(known) = address.parse() {
        return Ok(known);
    }
    let (host, port) = address
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.to_owned(), port.parse::<u16>().ok()?)))
        .filter(|(host, _port)| !host.is_empty())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{address:?} is not host:port")))?;
    let asked = host.clone();
    let found: Vec<SocketAddr> =
        runtime::task::blocking(move || (asked.as_str(), port).to_socket_addrs().map(Iterator::collect)).await?;
    let best = found.iter().find(|address| address.is_ipv4()).or(found.first());
    best.copied().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("no address is known for host {host:?}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_parted_by_semicolons() {
        assert_eq!(split_addresses(" a:1 ;; b:2;"), ["a:1", "b:2"]);
        assert!(split_addresses(" ; ").is_empty());
    }

    #[test]
    fn names_and_numbers_are_resolved_and_rubbish_is_named() {
        let io = runtime::probe::IoPath::Blocking(runtime::probe::Refusal::Configured);
        runtime::core::run_here(&io, async {
            assert_eq!(
                resolve("127.0.0.1:9876").await.unwrap(),
                "127.0.0.1:9876".parse().unwrap()
            );
            assert_eq!(resolve("[::1]:1").await.unwrap(), "[::1]:1".parse().unwrap());
            assert_eq!(resolve("localhost:80").await.unwrap().port(), 80);
            for bad in ["", "host", ":1", "host:x", "host:99999"] {
                let error = resolve(bad).await.unwrap_err();
                assert!(error.to_string().contains("is not host:port"), "{bad:?}: {error}");
            }
        })
        .unwrap();
    }
}
