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
    /// Its endpoints speak HTTP/2 without TLS.
    pub(super) h2c: bool,
    /// Empty if unnamed; EndpointSlices use the same name.
    pub(super) name: &'a str,
}

/// The port names by which Knative and Kourier say HTTP/2 (knative.dev/networking `ports.go`).
///
/// Kourier looks at all ports of the Service; here the port that a route names speaks for itself. For Knative's own
/// Services it comes to the same: a route's port is named `http` or `http2` and no other port is named so.
const H2C_NAMES: [&str; 2] = ["http2", "h2c"];

/// Longest name of a port (a DNS label).
const MAX_PORT_NAME: usize = 63;

/// The `appProtocol` that says so since Kubernetes 1.26 (KEP-3726).
const H2C_PROTOCOL: &str = "kubernetes.io/h2c";

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
            return Some(Port { number, h2c: false, name: "" });
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
        std::iter::from_fn(move || Some(Port { number: bytes.port()?, h2c: bytes.byte()? == 1, name: bytes.text()? }))
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
    let h2c = H2C_NAMES.contains(&name) || port.app_protocol.as_deref() == Some(H2C_PROTOCOL);
    bytes.extend_from_slice(&number.unwrap_or_default().to_be_bytes());
    bytes.push(u8::from(h2c));
    put_text(bytes, name);
}
