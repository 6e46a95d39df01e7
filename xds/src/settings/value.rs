//! Values as Kourier's map has them, in Go's way, and as ours are written.

use std::time::Duration;

use jiff::SignedDuration;

/// A value that is written in our way already; surrounding blanks don't count.
#[expect(clippy::unnecessary_wraps, reason = "one of several functions of this type")]
pub(super) fn same(text: &str) -> Result<String, String> {
    Ok(text.trim().to_owned())
}

/// A time as Go writes it: `500ms`, `5s`, `1m30s`, `1.5h`, `0`.
pub(super) fn time(text: &str) -> Result<String, String> {
    let text = text.trim();
    let expected = || format!("{text:?} is not a time: expected one like 500ms, 5s or 2m");
    if text == "0" {
        return Ok("0s".to_owned());
    }
    let time: SignedDuration = text.parse().map_err(|_| expected())?;
    let time = Duration::try_from(time).map_err(|_| expected())?;
    Ok(format!("{}ms", time.as_millis()))
}

/// What Go's `strconv.ParseBool` takes.
pub(super) fn switch(text: &str) -> Result<String, String> {
    match text.trim() {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok("on".to_owned()),
        "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok("off".to_owned()),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        let cases = [("0", "0s"), ("0s", "0ms"), ("300ms", "300ms"), ("1m30s", "90000ms"), ("1.5h", "5400000ms")];
        for (text, ours) in cases {
            assert_eq!(time(text).as_deref(), Ok(ours), "{text}");
        }
        for text in ["", "5", "-1s", "soon"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
