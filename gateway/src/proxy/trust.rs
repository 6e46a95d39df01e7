//! The client behind proxies: which peers are believed, and which address of `X-Forwarded-For` is the client's.
//!
//! Proxies in front are known by their addresses ([`Settings::trusted_proxies`]), by their number ([`Settings::hops`]), or by
//! both. Where addresses are given, a peer outside of them is never believed, whatever the number.

use std::net::{IpAddr, SocketAddr};

use crate::message::{Fields, Name};

use super::settings::Settings;

/// Proxies in front that are known by their number, as Envoy's `xff_num_trusted_hops` and `use_remote_address` state it
/// (docs, "HTTP header manipulation", x-forwarded-for).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hops {
    /// Number of proxies that have appended to `X-Forwarded-For` and are believed.
    pub count: u32,
    /// `true` if the peer's address is appended to `X-Forwarded-For`. Otherwise the field is passed on as it came, and its last
    /// address, which the peer has written, is one more that is skipped.
    pub appends_peer: bool,
}

/// The treatment of the `X-Forwarded-For` of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// It is replaced by the peer's address.
    Replace,
    /// The peer's address is appended.
    Append,
    /// It is passed on as it came.
    Keep,
}

/// Returns `true` if what a peer says about its client is believed, the scheme included.
pub fn is_trusted(settings: &Settings, peer: IpAddr) -> bool {
    match settings.hops {
        Some(hops) if settings.trusted_proxies.is_empty() => hops.count > 0,
        _ => is_in_ranges(settings, peer),
    }
}

/// Returns the treatment of a peer's `X-Forwarded-For`.
pub fn chain(settings: &Settings, peer: IpAddr) -> Chain {
    let is_excluded = !settings.trusted_proxies.is_empty() && !is_in_ranges(settings, peer);
    match settings.hops {
        Some(Hops { appends_peer: true, .. }) if !is_excluded => Chain::Append,
        Some(_) if !is_excluded => Chain::Keep,
        _ if is_trusted(settings, peer) => Chain::Append,
        _ => Chain::Replace,
    }
}

/// Returns the client's address if a believed `X-Forwarded-For` holds it; otherwise the peer is the client.
///
/// By number, it is the `count`-th address from the right, or the next one if the peer's address is not appended. By address,
/// it is the last one that is not a trusted proxy's. `fields` are as the peer sent them.
pub fn client(settings: &Settings, peer: IpAddr, fields: &Fields) -> Option<IpAddr> {
    if !is_trusted(settings, peer) {
        return None;
    }
    match settings.hops.filter(|hops| hops.count > 0) {
        Some(hops) => {
            let skipped = hops.count - u32::from(hops.appends_peer);
            addresses(fields).nth(usize::try_from(skipped).ok()?).flatten()
        }
        None => last_stranger(settings, fields),
    }
}

/// Returns the last address that is not a trusted proxy's, or the first of all if every one is. An unreadable address ends
/// the search: nothing before it was written by a proxy that is believed.
fn last_stranger(settings: &Settings, fields: &Fields) -> Option<IpAddr> {
    let mut client = None;
    for address in addresses(fields).map_while(|address| address) {
        client = Some(address);
        if !is_in_ranges(settings, address) {
            break;
        }
    }
    client
}

fn is_in_ranges(settings: &Settings, address: IpAddr) -> bool {
    settings.trusted_proxies.iter().any(|range| range.contains(&address.to_canonical()))
}

/// Returns the addresses of `X-Forwarded-For`, the last one first; `None` for one that cannot be read.
fn addresses(fields: &Fields) -> impl Iterator<Item = Option<IpAddr>> {
    fields.get_all(Name::XForwardedFor).rev().flat_map(|line| line.rsplit(|byte| *byte == b',')).map(parse)
}

/// Reads an address, with or without a port: Azure's Application Gateway appends one.
fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let address = text.parse().or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "192.0.2.5";

    fn settings(ranges: &[&str], hops: Option<(u32, bool)>) -> Settings {
        Settings {
            trusted_proxies: ranges.iter().map(|range| range.parse().expect("a range")).collect(),
            hops: hops.map(|(count, appends_peer)| Hops { count, appends_peer }),
            ..Settings::default()
        }
    }

    fn peer() -> IpAddr {
        PEER.parse().expect("an address")
    }

    fn found(settings: &Settings, lines: &[&str]) -> Option<String> {
        let mut fields = Fields::default();
        for line in lines {
            fields.append(b"X-Forwarded-For", line.as_bytes());
        }
        client(settings, peer(), &fields).map(|address| address.to_string())
    }

    /// The examples of Envoy's documentation, the peer at the end where it is appended.
    #[test]
    fn the_client_is_as_many_addresses_from_the_right_as_there_are_hops() {
        let chain = &["203.0.113.128, 203.0.113.10, 203.0.113.1"][..];
        let long = &["203.0.113.128, 203.0.113.10, 203.0.113.1, 192.0.2.5"][..];
        for (hops, lines, expected) in [
            ((0, true), chain, None),
            ((1, true), chain, Some("203.0.113.1")),
            ((2, true), chain, Some("203.0.113.10")),
            ((3, true), chain, Some("203.0.113.128")),
            ((4, true), chain, None),
            ((u32::MAX, true), chain, None),
            ((2, false), long, Some("203.0.113.10")),
            ((1, false), chain, Some("203.0.113.10")),
            ((3, false), chain, None),
            ((u32::MAX, false), chain, None),
            ((1, true), &[], None),
            ((2, true), &["203.0.113.128,203.0.113.10", "203.0.113.1"], Some("203.0.113.10")),
            ((1, true), &["203.0.113.128", ""], None),
            ((1, true), &["203.0.113.128, unknown"], None),
            ((2, true), &["203.0.113.128, unknown"], Some("203.0.113.128")),
            ((1, true), &["203.0.113.9:4711"], Some("203.0.113.9")),
            ((1, true), &["[2001:db8::9]:4711"], Some("2001:db8::9")),
            ((1, true), &["::ffff:203.0.113.9"], Some("203.0.113.9")),
        ] {
            let found = found(&settings(&[], Some(hops)), lines);
            assert_eq!(found.as_deref(), expected, "{hops:?} {lines:?}");
        }
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_a_trusted_proxys() {
        let settings = settings(&["192.0.2.0/24", "10.0.0.0/8"], None);
        for (lines, expected) in [
            (&["203.0.113.66, 203.0.113.9, 10.0.0.1"][..], Some("203.0.113.9")),
            (&["203.0.113.66, 203.0.113.9", "10.0.0.1, 10.0.0.2"], Some("203.0.113.9")),
            (&["10.0.0.1, 10.0.0.2"], Some("10.0.0.1")),
            (&["203.0.113.66, unknown, 10.0.0.1"], Some("10.0.0.1")),
            (&["unknown"], None),
            (&[], None),
        ] {
            assert_eq!(found(&settings, lines).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn ranges_and_hops_together_believe_only_peers_of_the_ranges() {
        for (ranges, hops, trusted, treatment, client) in [
            (&[][..], None, false, Chain::Replace, None),
            (&[], Some((0, true)), false, Chain::Append, None),
            (&[], Some((1, true)), true, Chain::Append, Some("203.0.113.1")),
            (&[], Some((1, false)), true, Chain::Keep, Some("203.0.113.10")),
            (&["192.0.2.0/24"], None, true, Chain::Append, Some("203.0.113.1")),
            (&["192.0.2.0/24"], Some((0, true)), true, Chain::Append, Some("203.0.113.1")),
            (&["192.0.2.0/24"], Some((2, true)), true, Chain::Append, Some("203.0.113.10")),
            (&["192.0.2.0/24"], Some((1, false)), true, Chain::Keep, Some("203.0.113.10")),
            (&["198.51.100.0/24"], None, false, Chain::Replace, None),
            (&["198.51.100.0/24"], Some((0, true)), false, Chain::Replace, None),
            (&["198.51.100.0/24"], Some((1, true)), false, Chain::Replace, None),
            (&["198.51.100.0/24"], Some((1, false)), false, Chain::Replace, None),
        ] {
            let settings = settings(ranges, hops);
            let name = format!("{ranges:?} {hops:?}");
            assert_eq!(is_trusted(&settings, peer()), trusted, "{name}");
            assert_eq!(chain(&settings, peer()), treatment, "{name}");
            assert_eq!(found(&settings, &["203.0.113.10, 203.0.113.1"]).as_deref(), client, "{name}");
        }
    }
}
