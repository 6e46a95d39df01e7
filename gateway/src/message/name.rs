//! Field names that decisions ask for: found once, when a head is parsed.

use std::sync::LazyLock;

use http::HeaderName;

macro_rules! names {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// A field name that the gateway knows, or [`Name::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`.")] $variant,)*
            /// Any other name: compare its text.
            Other,
        }

        impl Name {
            const KNOWN: &'static [(Self, &'static str)] = &[$((Self::$variant, $text),)*];

            /// Returns the name in the type of the `http` crate, made once; `None` for [`Name::Other`].
            pub(crate) fn to_header_name(self) -> Option<HeaderName> {
                static NAMES: LazyLock<Box<[HeaderName]>> =
                    LazyLock::new(|| [$(HeaderName::from_static($text)),*].into());
                NAMES.get(self as usize).cloned()
            }

            /// The name in lower case; empty for [`Name::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other => "",
                }
            }
        }
    };
}

names! {
    AltSvc = "alt-svc",
    Connection = "connection",
    ContentLength = "content-length",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    Expect = "expect",
    Forwarded = "forwarded",
    GrpcMessage = "grpc-message",
    GrpcStatus = "grpc-status",
    Host = "host",
    Http2Settings = "http2-settings",
    KeepAlive = "keep-alive",
    Location = "location",
    NetworkHash = "k-network-hash",
    NetworkProbe = "k-network-probe",
    ProxyConnection = "proxy-connection",
    RealIp = "x-real-ip",
    RequestId = "x-request-id",
    RetryAfter = "retry-after",
    SecWebSocketAccept = "sec-websocket-accept",
    SecWebSocketKey = "sec-websocket-key",
    SecWebSocketVersion = "sec-websocket-version",
    Server = "server",
    Te = "te",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    UserAgent = "user-agent",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedProto = "x-forwarded-proto",
}

impl Name {
    /// Finds a name, in whatever case it is written.
    pub fn of(text: &[u8]) -> Self {
        /// Known names by length: no two lists have more than five entries.
        const LONGEST: usize = 21;
        static BY_LENGTH: LazyLock<[Vec<(Name, &'static str)>; LONGEST + 1]> = LazyLock::new(|| {
            let mut table: [Vec<_>; LONGEST + 1] = Default::default();
            for entry in Name::KNOWN {
                table[entry.1.len()].push(*entry);
            }
            table
        });
        let Some(candidates) = BY_LENGTH.get(text.len()) else { return Self::Other };
        let found = candidates.iter().find(|(_, known)| text.eq_ignore_ascii_case(known.as_bytes()));
        found.map_or(Self::Other, |(name, _)| *name)
    }

    /// Returns `true` for a field that speaks about one connection alone (RFC 9110 §7.6.1), and for `HTTP2-Settings`
    /// (RFC 7540 §3.2.1). `TE` and `Trailer` are not among them: trailers are forwarded.
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Http2Settings
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for (name, text) in Name::KNOWN {
            assert_eq!(Name::of(text.as_bytes()), *name);
            assert_eq!(Name::of(text.to_ascii_uppercase().as_bytes()), *name);
            assert_eq!(name.as_str(), *text);
        }
    }

    #[test]
    fn other_names_are_other() {
        for text in ["", "x", "hosts", "x-forwarded-fo_", "a-name-that-is-longer-than-any-known-one"] {
            assert_eq!(Name::of(text.as_bytes()), Name::Other, "{text}");
        }
    }
}
