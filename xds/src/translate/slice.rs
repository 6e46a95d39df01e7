//! An EndpointSlice to what is kept of it: its ports, and the addresses that are ready or still serve.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::draft::port_number;
use super::problem::Problems;
use crate::packed::{Reader, put_text};

/// The label that says whose endpoints a slice holds.
pub(super) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// What is kept of an EndpointSlice, packed: what its name adds to the Service's, its TCP ports, and the addresses that are
/// ready, or terminating and still serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackedSlice<'a>(pub(super) &'a [u8]);

const WHOLE: u8 = 0;
const SUFFIX: u8 = 1;

impl PackedSlice<'_> {
    /// Packs a slice of a Service. `None` if it is rejected.
    pub(super) fn pack(name: &str, service: &str, slice: &EndpointSlice, problems: &mut Problems) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let suffix = name.strip_prefix(service);
        bytes.push(if suffix.is_some() { SUFFIX } else { WHOLE });
        put_text(&mut bytes, suffix.unwrap_or(name));
        put_ports(&mut bytes, slice, problems);
        if slice.address_type != "FQDN" {
            for (index, endpoint) in slice.endpoints.iter().enumerate() {
                if let Some(state) = Serving::of(endpoint) {
                    put_addresses(&mut bytes, index, endpoint, state, problems);
                }
            }
        }
        (!problems.rejected()).then_some(bytes)
    }

    /// True if this is the slice of that name, of that Service.
    pub(super) fn is_named(self, name: &str, service: &str) -> bool {
        let mut bytes = Reader(self.0);
        match (bytes.byte(), bytes.text()) {
            (Some(SUFFIX), Some(suffix)) => name.strip_prefix(service) == Some(suffix),
            (_, whole) => whole == Some(name),
        }
    }

    /// Appends the addresses in that state, with the port of that name.
    pub(super) fn addresses(self, port_name: &str, wanted: Serving, into: &mut Vec<SocketAddr>) {
        let mut bytes = Reader(self.0);
        bytes.byte();
        bytes.text();
        let mut number = None;
        for _ in 0..bytes.byte().unwrap_or_default() {
            let port = (bytes.port(), bytes.text());
            if let (Some(port), Some(name)) = port
                && name == port_name
            {
                number = Some(port);
            }
        }
        let Some(number) = number else { return };
        while let Some((state, address)) = address(&mut bytes) {
            if state == wanted {
                into.push(SocketAddr::new(address, number));
            }
        }
    }
}

/// State of an endpoint that requests may be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serving {
    /// It is ready.
    Ready,
    /// It ends and still serves. Used while no other endpoint is ready (KEP-1669).
    Terminating,
}

impl Serving {
    /// The state of an endpoint; `None` if nothing is to be sent to it.
    ///
    /// An endpoint is ready unless it says otherwise (`EndpointConditions`: "a nil value should be interpreted as true").
    /// One that is not ready serves only if it says so, as kube-proxy has it.
    fn of(endpoint: &Endpoint) -> Option<Self> {
        let Some(conditions) = &endpoint.conditions else { return Some(Self::Ready) };
        if conditions.ready.unwrap_or(true) {
            return Some(Self::Ready);
        }
        let still_serves = conditions.terminating == Some(true) && conditions.serving == Some(true);
        still_serves.then_some(Self::Terminating)
    }

    /// Added to the family of an address.
    fn mark(self) -> u8 {
        match self {
            Self::Ready => 0,
            Self::Terminating => TERMINATING,
        }
    }
}

/// Marks an address of an endpoint that ends.
const TERMINATING: u8 = 0x80;

fn address(bytes: &mut Reader<'_>) -> Option<(Serving, IpAddr)> {
    let head = bytes.byte()?;
    let state = if head & TERMINATING == 0 { Serving::Ready } else { Serving::Terminating };
    let address = match head & !TERMINATING {
        4 => bytes.array::<4>().map(IpAddr::from),
        _ => bytes.array::<16>().map(IpAddr::from),
    };
    Some((state, address?))
}

fn put_ports(bytes: &mut Vec<u8>, slice: &EndpointSlice, problems: &mut Problems) {
    let count_at = bytes.len();
    bytes.push(0);
    for (index, port) in slice.ports.iter().flatten().enumerate() {
        let tcp = matches!(port.protocol.as_deref(), None | Some("" | "TCP"));
        let Some(number) = port.port.filter(|_| tcp) else { continue };
        match port_number(number) {
            Ok(number) if bytes[count_at] < u8::MAX => {
                bytes[count_at] += 1;
                bytes.extend_from_slice(&number.to_be_bytes());
                put_text(bytes, port.name.as_deref().unwrap_or_default());
            }
            Ok(_) => problems.error("ports", "more than 255 ports"),
            Err(error) => problems.error(format_args!("ports[{index}].port"), error),
        }
    }
}

fn put_addresses(bytes: &mut Vec<u8>, index: usize, endpoint: &Endpoint, state: Serving, problems: &mut Problems) {
    for (nth, text) in endpoint.addresses.iter().enumerate() {
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(v4)) => {
                bytes.push(4 | state.mark());
                bytes.extend_from_slice(&v4.octets());
            }
            Ok(IpAddr::V6(v6)) => {
                bytes.push(6 | state.mark());
                bytes.extend_from_slice(&v6.octets());
            }
            Err(_) => {
                let message = format_args!("{text:?} is not an IP address");
                problems.error(format_args!("endpoints[{index}].addresses[{nth}]"), message);
            }
        }
    }
}
