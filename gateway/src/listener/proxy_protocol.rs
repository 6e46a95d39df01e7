//! The PROXY protocol: a load balancer in front says who the client is.
//!
//! Versions 1 and 2 of <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. Where it is switched on, every
//! connection must begin with a header: guessing would let any client choose its address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// "the maximum line lengths … including the CRLF" (§2.1).
const V1_MAX: usize = 107;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;
/// Addresses take 36 bytes; what follows (TLVs) is read over. Senders stay far below this.
const V2_MAX: usize = 4096;

/// No header is longer than this.
pub(super) const MAX_HEADER: usize = V2_FIXED + V2_MAX;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection is from `client` to `local`.
    Proxied {
        /// The client.
        client: SocketAddr,
        /// The address it connected to.
        local: SocketAddr,
    },
    /// The sender speaks for itself (a health check), or cannot say: the socket's addresses count.
    Local,
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFault {
    /// The connection does not begin with a header.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// It is not what either version allows.
    #[error("the PROXY header is malformed")]
    Malformed,
    /// It is longer than we read.
    #[error("the PROXY header is longer than {MAX_HEADER} bytes")]
    TooLong,
}

/// Reads a header from the start of `bytes`; `None` if there must be more of it, else the header and its length.
///
/// # Errors
/// [`ProxyFault`]; more bytes would not help.
pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyFault> {
    if starts(bytes, V2_SIGNATURE) {
        parse_v2(bytes)
    } else if starts(bytes, b"PROXY ") {
        parse_v1(bytes)
    } else {
        Err(ProxyFault::Missing)
    }
}

/// Whether `bytes` begin with `prefix`, or could when there are more of them.
fn starts(bytes: &[u8], prefix: &[u8]) -> bool {
    let count = bytes.len().min(prefix.len());
    bytes[..count] == prefix[..count]
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyFault> {
    let window = &bytes[..bytes.len().min(V1_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() >= V1_MAX { Err(ProxyFault::Malformed) } else { Ok(None) };
    };
    let line = str::from_utf8(&window[..end]).map_err(|_| ProxyFault::Malformed)?;
    let mut words = line.split(' ').skip(1);
    let header = match words.next() {
        Some("UNKNOWN") => return Ok(Some((ProxyHeader::Local, end + 2))),
        Some("TCP4") => v1_addresses::<Ipv4Addr>(&mut words),
        Some("TCP6") => v1_addresses::<Ipv6Addr>(&mut words),
        _ => None,
    };
    match (header, words.next()) {
        (Some(header), None) => Ok(Some((header, end + 2))),
        _ => Err(ProxyFault::Malformed),
    }
}

fn v1_addresses<'a, A: FromStr + Into<IpAddr>>(words: &mut impl Iterator<Item = &'a str>) -> Option<ProxyHeader> {
    let client: A = words.next()?.parse().ok()?;
    let local: A = words.next()?.parse().ok()?;
    let client_port = v1_port(words.next()?)?;
    let local_port = v1_port(words.next()?)?;
    Some(ProxyHeader::Proxied {
        client: SocketAddr::new(client.into(), client_port),
        local: SocketAddr::new(local.into(), local_port),
    })
}

/// Digits only, no leading zero (§2.1), where `u16::from_str` takes a sign as well.
fn v1_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyFault> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED>() else {
        return Ok(None);
    };
    let (version_command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > V2_MAX {
        return Err(ProxyFault::TooLong);
    }
    let Some(addresses) = rest.get(..length) else {
        return Ok(None);
    };
    let header = match (version_command, family) {
        (0x21, 0x11) => v2_addresses::<4, 12>(addresses, |octets| Ipv4Addr::from(octets).into()),
        (0x21, 0x21) => v2_addresses::<16, 36>(addresses, |octets| Ipv6Addr::from(octets).into()),
        // LOCAL; and UDP, UNIX sockets and "unspecified" carry no TCP address: the socket's counts (§2.2).
        (0x20, _) | (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Some(ProxyHeader::Local),
        _ => None,
    };
    header.map(|header| Some((header, V2_FIXED + length))).ok_or(ProxyFault::Malformed)
}

/// Two addresses of `A` bytes, then two ports: `ALL` bytes.
fn v2_addresses<const A: usize, const ALL: usize>(
    bytes: &[u8],
    address: impl Fn([u8; A]) -> IpAddr,
) -> Option<ProxyHeader> {
    let all = bytes.first_chunk::<ALL>()?;
    let (client, rest) = all.split_first_chunk::<A>()?;
    let (local, ports) = rest.split_first_chunk::<A>()?;
    let &[c0, c1, l0, l1] = ports else {
        return None;
    };
    Some(ProxyHeader::Proxied {
        client: SocketAddr::new(address(*client), u16::from_be_bytes([c0, c1])),
        local: SocketAddr::new(address(*local), u16::from_be_bytes([l0, l1])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(client: &str, local: &str) -> ProxyHeader {
        ProxyHeader::Proxied { client: client.parse().unwrap(), local: local.parse().unwrap() }
    }

    fn v2(version_command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = V2_SIGNATURE.to_vec();
        bytes.extend([version_command, family]);
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn good() -> Vec<(Vec<u8>, ProxyHeader)> {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0x01, 0xbb];
        let v4_with_tlv = [&v4[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
        let mut v6 = [0_u8; 36];
        (v6[0], v6[1], v6[15], v6[31], v6[33], v6[35]) = (0x20, 0x01, 1, 2, 80, 81);
        let from = "192.0.2.1:56324";
        vec![
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n".to_vec(), proxied(from, "198.51.100.2:443")),
            (b"PROXY TCP6 2001:db8::1 ::2 1 65535\r\n".to_vec(), proxied("[2001:db8::1]:1", "[::2]:65535")),
            (b"PROXY UNKNOWN\r\n".to_vec(), ProxyHeader::Local),
            (b"PROXY UNKNOWN ffff:f...f:ffff whatever 1 2\r\n".to_vec(), ProxyHeader::Local),
            (v2(0x21, 0x11, &v4), proxied(from, "198.51.100.2:443")),
            (v2(0x21, 0x11, &v4_with_tlv), proxied(from, "198.51.100.2:443")),
            (v2(0x21, 0x21, &v6), proxied("[2001::1]:80", "[::2]:81")),
            (v2(0x20, 0x00, &[]), ProxyHeader::Local),
            (v2(0x21, 0x31, &[0; 216]), ProxyHeader::Local),
        ]
    }

    #[test]
    fn headers_of_both_versions_are_read() {
        for (bytes, header) in good() {
            assert_eq!(parse(&bytes), Ok(Some((header, bytes.len()))), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_follows_a_header_is_left_alone() {
        for (bytes, header) in good() {
            let more = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&more), Ok(Some((header, bytes.len()))));
        }
    }

    #[test]
    fn every_beginning_of_a_header_asks_for_more() {
        for (bytes, _) in good() {
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Ok(None), "{}", bytes[..end].escape_ascii());
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let long_line = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat();
        let cases: [(&[u8], ProxyFault); 14] = [
            (b"GET / HTTP/1.1\r\n", ProxyFault::Missing),
            (b"\x16\x03\x01", ProxyFault::Missing),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n", ProxyFault::Malformed),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n", ProxyFault::Malformed),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 70000\r\n", ProxyFault::Malformed),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n", ProxyFault::Malformed),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n", ProxyFault::Malformed),
            (b"PROXY TCP4 ::1 ::2 1 2\r\n", ProxyFault::Malformed),
            (b"PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n", ProxyFault::Malformed),
            (&long_line, ProxyFault::Malformed),
            (&v2(0x31, 0x11, &[0; 12]), ProxyFault::Malformed),
            (&v2(0x21, 0x11, &[0; 11]), ProxyFault::Malformed),
            (&v2(0x21, 0x99, &[0; 12]), ProxyFault::Malformed),
            (&v2(0x21, 0x11, &[0; 5000]), ProxyFault::TooLong),
        ];
        for (bytes, fault) in cases {
            assert_eq!(parse(bytes), Err(fault), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn damaged_headers_never_claim_more_than_there_is() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..100_000 {
            let (mut bytes, _) = random.choice(good()).unwrap();
            for _ in 0..random.usize(0..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            bytes.truncate(random.usize(..=bytes.len()));
            if let Ok(Some((_, length))) = parse(&bytes) {
                assert!(length <= bytes.len() && length <= MAX_HEADER, "{}", bytes.escape_ascii());
            }
        }
    }
}
