//! A Service to what is kept of it: its ports, and the external name if it is one.

use k8s_openapi::api::core::v1::{Service, ServicePort};

use super::draft::{PortRef, port_number};
use super::host;
use super::problem::Problems;
use crate::packed::{Reader, put_text};

/// What is kept of a Service, packed: the external name (empty if it has endpoints), then its TCP ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackedService<'a>(pub(super) &'a [u8]);

/// A port of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port<'a> {
    pub(super) number: u16,
    pub(super) speaks: Speaks<'a>,
    /// Empty if unnamed; EndpointSlices use the same name.
    pub(super) name: &'a str,
}

/// What the endpoints of a port speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks<'a> {
    /// HTTP/1.1 without TLS.
    Http1,
    /// HTTP/2 without TLS.
    H2c,
    /// TLS, by this `appProtocol`; by the port's name if it is empty.
    Tls(&'a str),
}

/// The port names by which Knative and Kourier say HTTP/2 (knative.dev/networking `ports.go`).
///
/// Kourier looks at all ports of the Service; here the port that a route names speaks for itself. For Knative's own
/// Services it comes to the same: a route's port is named `http` or `http2` and no other port is named so.
const H2C_NAMES: [&str; 2] = ["http2", "h2c"];

/// Longest name of a port (a DNS label).
const MAX_PORT_NAME: usize = 63;

/// The name of a port that says TLS, unless its `appProtocol` says otherwise.
const TLS_NAME: &str = "https";

/// Values of `appProtocol` for HTTP/2 without TLS, in any case: Kubernetes' own (KEP-3726), and what is in use.
const H2C_PROTOCOLS: [&str; 4] = ["kubernetes.io/h2c", "h2c", "http2", "grpc"];

/// Values of `appProtocol` for TLS, in any case.
const TLS_PROTOCOLS: [&str; 4] = ["https", "kubernetes.io/wss", "wss", "grpcs"];

/// Values of `appProtocol` that say that a port named `https` is without TLS.
const CLEAR_PROTOCOLS: [&str; 3] = ["http", "kubernetes.io/ws", "ws"];

impl<'s> PackedService<'s> {
    /// Packs a Service. `None` if it is rejected.
    pub(super) fn pack(service: &Service, problems: &mut Problems) -> Option<Vec<u8>> {
        let spec = service.spec.clone().unwrap_or_default();
        let mut bytes = Vec::new();
        let external = spec.type_.as_deref() == Some("ExternalName");
        put_text(
            &mut bytes,
            &if external { external_name(spec.external_name.as_deref(), problems) } else { String::new() },
        );
        for (index, port) in spec.ports.iter().flatten().enumerate() {
            put_port(&mut bytes, index, port, problems);
        }
        (!problems.rejected()).then_some(bytes)
    }

    /// The name that an `ExternalName` Service stands for.
    pub(super) fn external_name(self) -> Option<&'s str> {
        Reader(self.0).text().filter(|name| !name.is_empty())
    }

    /// The port that a route names. An `ExternalName` Service without ports has every number.
    pub(super) fn port<'a>(self, wanted: PortRef<'a>) -> Option<Port<'a>>
    where
        's: 'a,
    {
        let mut ports = self.ports().peekable();
        if let PortRef::Number(number) = wanted
            && self.external_name().is_some()
            && ports.peek().is_none()
        {
            return Some(Port { number, speaks: Speaks::Http1, name: "" });
        }
        ports.find(|port| match wanted {
            PortRef::Number(number) => port.number == number,
            PortRef::Name(name) => port.name == name,
        })
    }

    /// The TCP ports, in the order written.
    pub(super) fn ports(self) -> impl Iterator<Item = Port<'s>> {
        let mut bytes = Reader(self.0);
        bytes.text();
        std::iter::from_fn(move || {
            let number = bytes.port()?;
            let speaks = match bytes.byte()? {
                HTTP1 => Speaks::Http1,
                H2C => Speaks::H2c,
                _ => Speaks::Tls(bytes.text()?),
            };
            Some(Port { number, speaks, name: bytes.text()? })
        })
    }
}

const HTTP1: u8 = 0;
const H2C: u8 = 1;
const TLS: u8 = 2;

impl<'a> Speaks<'a> {
    /// What a port's `appProtocol` and name come to. TLS in either is never passed over for HTTP/2 without it.
    fn of(protocol: &'a str, name: &str) -> Self {
        let is_one_of = |known: &[&str]| known.iter().any(|known| protocol.eq_ignore_ascii_case(known));
        if is_one_of(&TLS_PROTOCOLS) {
            Self::Tls(protocol)
        } else if H2C_NAMES.contains(&name) || is_one_of(&H2C_PROTOCOLS) {
            Self::H2c
        } else if name == TLS_NAME && !is_one_of(&CLEAR_PROTOCOLS) {
            Self::Tls("")
        } else {
            Self::Http1
        }
    }

    fn put(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Http1 => bytes.push(HTTP1),
            Self::H2c => bytes.push(H2C),
            Self::Tls(protocol) => {
                bytes.push(TLS);
                put_text(bytes, protocol);
            }
        }
    }
}

fn external_name(name: Option<&str>, problems: &mut Problems) -> String {
    let folded = host::fold(name.unwrap_or_default()).ok().filter(|folded| !folded.contains('*'));
    folded.unwrap_or_else(|| {
        let message =
            format_args!("{:?} is not a DNS name, which an ExternalName Service needs", name.unwrap_or_default());
        problems.error("spec.externalName", message);
        String::new()
    })
}

fn put_port(bytes: &mut Vec<u8>, index: usize, port: &ServicePort, problems: &mut Problems) {
    let number =
        port_number(port.port).map_err(|error| problems.error(format_args!("spec.ports[{index}].port"), error));
    if !matches!(port.protocol.as_deref(), None | Some("" | "TCP")) {
        return;
    }
    let name = port.name.as_deref().unwrap_or_default();
    if name.len() > MAX_PORT_NAME {
        problems
            .error(format_args!("spec.ports[{index}].name"), "longer than the 63 characters a port's name may have");
    }
    bytes.extend_from_slice(&number.unwrap_or_default().to_be_bytes());
    Speaks::of(port.app_protocol.as_deref().unwrap_or_default(), name).put(bytes);
    put_text(bytes, name);
}
