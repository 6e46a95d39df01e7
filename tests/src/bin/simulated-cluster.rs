//! The simulated cluster in a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    postern_tests::cluster::main(std::env::args_os())
}
