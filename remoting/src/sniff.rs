//! What the first byte of a connection says.
//!
//! A frame starts with its length, big-endian and at most 16 MiB, so with 0 or 1. Other protocols that people point at this
//! port start otherwise, and are told apart here so that the log says what to change.

use std::fmt;

/// A protocol that is not served on this port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherProtocol {
    /// A TLS handshake record.
    Tls,
    /// HAProxy's PROXY protocol, version 1 or 2.
    ProxyPreamble,
    /// Text such as HTTP's.
    Text(u8),
    /// None of these.
    Unknown(u8),
}

impl fmt::Display for OtherProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OtherProtocol::Tls => f.write_str(
                "the peer starts a TLS handshake; TLS is not served here: set tls.enable=false in the client",
            ),
            OtherProtocol::ProxyPreamble => f.write_str(
                "the peer starts with a PROXY protocol preamble, which is not served here: switch it off in the proxy \
                 (HAProxy: remove send-proxy)",
            ),
            OtherProtocol::Text(byte) => write!(
                f,
                "the peer starts with {:?}, so it seems to speak a text protocol such as HTTP; this port is RocketMQ remoting",
                char::from(*byte)
            ),
            OtherProtocol::Unknown(byte) => {
                write!(
                    f,
                    "the peer starts with byte {byte:#04x}, which no RocketMQ remoting frame does"
                )
            }
        }
    }
}

/// `None` if a remoting frame can start with `first`.
pub(crate) fn other_protocol(first: u8) -> Option<OtherProtocol> {
    match first {
        0 | 1 => None,
        0x16 => Some(OtherProtocol::Tls),
        // "PROXY " of version 1, and the CR that begins the signature of version 2. No HTTP method on a broker's port is
        // worth telling from PROXY by its second byte.
        b'P' | b'\r' => Some(OtherProtocol::ProxyPreamble),
        b' '..=b'~' => Some(OtherProtocol::Text(first)),
        _ => Some(OtherProtocol::Unknown(first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_byte_of_a_length_up_to_the_limit_passes() {
        let passing: Vec<u8> = (0..=u8::MAX).filter(|byte| other_protocol(*byte).is_none()).collect();
        let longest = protocol::frame::FRAME_LENGTH_MAX.to_be_bytes()[0];
        assert_eq!(passing, (0..=longest).collect::<Vec<_>>());
    }

    #[test]
    fn a_client_with_tls_and_a_proxy_are_told_what_to_change() {
        assert!(other_protocol(0x16).unwrap().to_string().contains("tls.enable=false"));
        assert!(other_protocol(b'P').unwrap().to_string().contains("send-proxy"));
        assert!(other_protocol(b'\r').unwrap().to_string().contains("PROXY"));
        assert!(other_protocol(b'G').unwrap().to_string().contains("HTTP"));
    }
}
