//! Framing fields of a head (RFC 9112 §6), read so that no other parser can see another length.

use super::fault::Fault;
use super::options::list;

/// `Content-Length` and `Transfer-Encoding` of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Framing {
    pub(super) length: Option<u64>,
    pub(super) is_chunked: bool,
}

impl Framing {
    /// Adds a `Content-Length`. Equal ones are one (RFC 9112 §6.3); a sign, white space or nothing is no number.
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        for number in value.split(|byte| *byte == b',') {
            let length = digits(number.trim_ascii()).ok_or(Fault::ContentLength)?;
            if self.length.replace(length).is_some_and(|before| before != length) {
                return Err(Fault::ContentLength);
            }
        }
        Ok(())
    }

    /// Adds a `Transfer-Encoding`: `chunked`, once.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Fault::TransferCoding);
        }
        self.is_chunked = true;
        Ok(())
    }
}

/// Reads a decimal number that is nothing but digits.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Reads the `timeout` of a `Keep-Alive` field, in seconds.
pub(super) fn keep_alive_timeout(value: &[u8]) -> Option<u64> {
    list(value).find_map(|parameter| {
        let (name, seconds) = parameter.split_at_checked(8)?;
        name.eq_ignore_ascii_case(b"timeout=").then(|| digits(seconds.trim_ascii()))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lengths_are_one_and_anything_else_is_refused() {
        for (values, length) in [
            (&["0"][..], Some(0)),
            (&["18446744073709551615"], Some(u64::MAX)),
            (&["5", "5"], Some(5)),
            (&["5, 5", "5"], Some(5)),
            (&["5", "6"], None),
            (&["3, 4"], None),
            (&["+5"], None),
            (&["-5"], None),
            (&["ten"], None),
            (&["5 5"], None),
            (&["0x5"], None),
            (&[""], None),
            (&["5,"], None),
            (&["18446744073709551616"], None),
        ] {
            let mut framing = Framing::default();
            let read = values.iter().try_for_each(|value| framing.content_length(value.as_bytes()));
            assert_eq!(read.ok().and(framing.length), length, "{values:?}");
        }
    }

    #[test]
    fn the_only_transfer_coding_is_chunked_once() {
        for (values, is_valid) in [
            (&["chunked"][..], true),
            (&["Chunked"], true),
            (&["chunked", "chunked"], false),
            (&["chunked, chunked"], false),
            (&["gzip, chunked"], false),
            (&["identity"], false),
            (&["xchunked"], false),
            (&["\"chunked\""], false),
            (&[""], false),
        ] {
            let mut framing = Framing::default();
            let read = values.iter().try_for_each(|value| framing.transfer_encoding(value.as_bytes()));
            assert_eq!(read.is_ok(), is_valid, "{values:?}");
        }
    }

    #[test]
    fn the_timeout_of_keep_alive_is_found_among_its_parameters() {
        for (value, timeout) in [
            ("timeout=5", Some(5)),
            ("max=100, Timeout=72", Some(72)),
            ("timeout=x", None),
            ("max=5", None),
            ("", None),
        ] {
            assert_eq!(keep_alive_timeout(value.as_bytes()), timeout, "{value:?}");
        }
    }
}
