//! Which addresses a service may lead to.
//!
//! On a cluster whoever may write a Service says where requests go: an ExternalName may be, or resolve to, an address at which
//! only this host is meant to be asked, such as our own admin listener (Contour's CVE-2021-32783 was that). Kubernetes refuses
//! such addresses in Endpoints and EndpointSlices for the same reason (`ValidateNonSpecialIP`), but not names.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Which addresses endpoints may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All: who writes the objects runs this host.
    #[default]
    Everywhere,
    /// Those of other hosts alone: no loopback, unspecified, link-local or multicast ones.
    Elsewhere,
}

impl Reach {
    /// Whether an endpoint may have this address.
    pub fn includes(self, ip: IpAddr) -> bool {
        self == Self::Everywhere || !is_special(ip.to_canonical())
    }

    /// Those that endpoints may have; the same list if that is all. The others are counted.
    pub(super) fn within(self, addresses: &Arc<[SocketAddr]>) -> Arc<[SocketAddr]> {
        let refused = addresses.iter().filter(|address| !self.includes(address.ip())).count();
        if refused == 0 {
            return Arc::clone(addresses);
        }
        count_refused(refused);
        addresses.iter().filter(|address| self.includes(address.ip())).copied().collect()
    }
}

/// So many addresses were left out.
pub(super) fn count_refused(addresses: usize) {
    metrics::counter!("postern_upstream_refused_addresses_total").increment(addresses as u64);
}

fn is_special(ip: IpAddr) -> bool {
    match ip {
        // All of 0.0.0.0/8 is this host (RFC 1122 §3.2.1.3).
        IpAddr::V4(v4) => v4.is_loopback() || v4.octets()[0] == 0 || v4.is_link_local() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_host_and_of_its_link_are_not_elsewhere() {
        let special = [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:0.0.0.0",
            "fe80::1",
            "ff02::1",
        ];
        for text in special {
            let ip: IpAddr = text.parse().expect("an address");
            assert!(!Reach::Elsewhere.includes(ip) && Reach::Everywhere.includes(ip), "{text}");
        }
        for text in ["10.0.0.1", "192.168.1.1", "100.64.0.1", "203.0.113.1", "2001:db8::1", "fd00::1"] {
            assert!(Reach::Elsewhere.includes(text.parse().expect("an address")), "{text}");
        }
    }

    #[test]
    fn a_list_keeps_the_addresses_that_may_be_reached() {
        let addresses: Arc<[SocketAddr]> =
            ["127.0.0.1:80", "10.0.0.1:80"].map(|text| text.parse().expect("an address")).into();
        assert!(Arc::ptr_eq(&addresses, &Reach::Everywhere.within(&addresses)));
        assert_eq!(*Reach::Elsewhere.within(&addresses), addresses[1..]);
    }
}
