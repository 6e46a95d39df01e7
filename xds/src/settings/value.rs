//! How values are written, in our way and in Go's.

use std::time::Duration;

use jiff::SignedDuration;

use crate::object::ObjectRef;

/// A size like `128KiB`, `32Mi` or `1GiB`; never zero.
pub(super) fn size(text: &str) -> Result<u64, String> {
    match text.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        _ => Err(format!("{text:?} is not a size: expected one like 128KiB, 32MiB or 1GiB, above zero")),
    }
}

/// A time as Go writes it: `500ms`, `5s`, `1m30s`, `1.5h`, `0`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is not a time: expected one like 500ms, 5s or 2m");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let time: SignedDuration = text.parse().map_err(|_| expected())?;
    Duration::try_from(time).map_err(|_| expected())
}

/// `on` or `off`, or what Go's `strconv.ParseBool` takes.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(true),
        "off" | "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(false),
        _ => Err(format!("{text:?} is neither on nor off (true nor false)")),
    }
}

/// `NAMESPACE/NAME`.
pub(super) fn secret_ref(text: &str) -> Result<ObjectRef, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectRef::new(namespace, name))
        }
        _ => Err(format!("{text:?} is not a Secret: expected NAMESPACE/NAME")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        let cases = [("0", 0), ("0s", 0), ("300ms", 300), ("1m30s", 90_000), ("1.5h", 5_400_000), ("2m", 120_000)];
        for (text, milliseconds) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "-1s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
