//! What a command prints.

use std::io::{self, Write};
use std::process::ExitCode;

use super::EXIT_FAILED;

/// Prints a report to standard output, and yields how the command ends: with `code`, also if the reader has seen enough
/// (`postern certs list | head`), and as failed if it cannot be written.
pub(crate) fn print(text: &str, code: ExitCode) -> ExitCode {
    ends(write(&mut io::stdout().lock(), text), code)
}

/// Prints a line while something goes on, which does not depend on who reads it.
pub(crate) fn say(line: &str) {
    let _ = write(&mut io::stdout().lock(), &format!("{line}\n"));
}

fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn ends(written: io::Result<()>, code: ExitCode) -> ExitCode {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            // Nothing is left to do if that fails, too.
            let _ = writeln!(io::stderr(), "error: cannot write to standard output: {error}");
            ExitCode::from(EXIT_FAILED)
        }
        _ => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure_and_a_full_disk_is() {
        let ended = |written: io::Result<()>| format!("{:?}", ends(written, ExitCode::SUCCESS));
        let (success, failed) = (format!("{:?}", ExitCode::SUCCESS), format!("{:?}", ExitCode::from(EXIT_FAILED)));
        assert_ne!(success, failed);
        assert_eq!(ended(Ok(())), success);
        assert_eq!(ended(Err(io::ErrorKind::BrokenPipe.into())), success);
        assert_eq!(ended(Err(io::ErrorKind::StorageFull.into())), failed);
    }
}
