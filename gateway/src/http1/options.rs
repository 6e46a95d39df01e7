//! Options of `Connection` (RFC 9110 §7.6.1), which say what becomes of the connection and which fields end with it.

use httparse::Header;

use crate::message::{Fields, Name, Version};

/// Options of all `Connection` fields of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    persistence: Persistence,
    pub(super) upgrade: bool,
    /// Names of fields that are not known to end with the connection anyway.
    names_fields: bool,
}

/// What the options say about the connection's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Persistence {
    #[default]
    Unsaid,
    KeepAlive,
    Close,
}

impl Options {
    /// Adds the options of a field.
    pub(super) fn read(&mut self, value: &[u8]) {
        for option in list(value) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.persistence = Persistence::Close,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => {
                    if self.persistence == Persistence::Unsaid {
                        self.persistence = Persistence::KeepAlive;
                    }
                }
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                _ => self.names_fields |= Name::of(option) != Name::Te,
            }
        }
    }

    /// Returns `true` if the sender lets the connection persist after its message (RFC 9112 §9.3).
    pub(super) fn persists(self, version: Version) -> bool {
        match self.persistence {
            Persistence::Unsaid => version == Version::Http11,
            Persistence::KeepAlive => true,
            Persistence::Close => false,
        }
    }

    /// Removes the fields that `Connection` names. What frames a message or says whom it is for stays.
    pub(super) fn strip(self, fields: &mut Fields, headers: &[Header<'_>]) {
        if !self.names_fields {
            return;
        }
        let connection = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection"));
        for option in connection.flat_map(|header| list(header.value)) {
            fields.retain(|field| {
                let stays = matches!(field.known, Name::Host | Name::ContentLength | Name::TransferEncoding);
                stays || !field.name.eq_ignore_ascii_case(option)
            });
        }
    }
}

/// Returns the elements of a comma-separated list, without the empty ones (RFC 9110 §5.6.1).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_any_case_from_any_number_of_fields() {
        let mut options = Options::default();
        options.read(b"Keep-Alive, ,TE");
        assert_eq!(options, Options { persistence: Persistence::KeepAlive, ..Options::default() });
        options.read(b"CLOSE,upgrade , x-custom");
        assert_eq!(options, Options { persistence: Persistence::Close, upgrade: true, names_fields: true });
    }

    #[test]
    fn named_fields_are_removed_but_never_those_that_frame_the_message() {
        let header = Header { name: "Connection", value: b"close, X-Custom, content-length" };
        let (mut options, mut fields) = (Options::default(), Fields::default());
        options.read(header.value);
        for name in ["x-custom", "Content-Length", "x-other", "X-CUSTOM"] {
            fields.append(name.as_bytes(), b"1");
        }
        options.strip(&mut fields, &[header]);
        assert_eq!(fields.iter().map(|field| field.name).collect::<Vec<_>>(), [&b"Content-Length"[..], b"x-other"]);
    }
}
