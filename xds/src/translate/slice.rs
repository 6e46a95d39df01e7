//! An EndpointSlice to what is kept of it: its ready addresses and its ports.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::draft::port_number;
use super::problem::Problems;
use crate::packed::{Reader, put_text};

/// The label that says whose endpoints a slice holds.
pub(super) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// What is kept of an EndpointSlice, packed: what its name adds to the Service's, its TCP ports, its ready addresses.
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
            for (index, endpoint) in slice.endpoints.iter().enumerate().filter(|(_, endpoint)| is_ready(endpoint)) {
                put_addresses(&mut bytes, index, endpoint, problems);
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

    /// Appends the ready addresses with the port of that name.
    pub(super) fn addresses(self, port_name: &str, into: &mut Vec<SocketAddr>) {
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
        while let Some(address) = address(&mut bytes) {
            into.push(SocketAddr::new(address, number));
        }
    }
}

fn address(bytes: &mut Reader<'_>) -> Option<IpAddr> {
    match bytes.byte()? {
        4 => bytes.array::<4>().map(IpAddr::from),
        _ => bytes.array::<16>().map(IpAddr::from),
    }
}

/// Ready is what does not say otherwise (`EndpointConditions`: "a nil value should be interpreted as true").
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
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

fn put_addresses(bytes: &mut Vec<u8>, index: usize, endpoint: &Endpoint, problems: &mut Problems) {
    for (nth, text) in endpoint.addresses.iter().enumerate() {
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(v4)) => {
                bytes.push(4);
                bytes.extend_from_slice(&v4.octets());
            }
            Ok(IpAddr::V6(v6)) => {
                bytes.push(6);
                bytes.extend_from_slice(&v6.octets());
            }
            Err(_) => {
                let message = format_args!("{text:?} is not an IP address");
                problems.error(format_args!("endpoints[{index}].addresses[{nth}]"), message);
            }
        }
    }
}
