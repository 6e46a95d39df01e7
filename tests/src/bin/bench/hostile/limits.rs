//! Combinations of limits and attacks.

use bytesize::ByteSize;
use clap::ValueEnum;
use postern_tests::cgroup::Limits;

use super::{Arguments, Case, Transport};
use crate::value_name;

/// One combination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Memory limit of the gateway.
    pub(super) limit: ByteSize,
    /// CPU quota of the gateway in percent of one processor.
    pub(super) cpu: u32,
    pub(super) transport: Transport,
    pub(super) case: Case,
}

impl Setting {
    /// All combinations that were asked for. A case that has one transport only is in it once.
    pub(super) fn all(arguments: &Arguments) -> Vec<Self> {
        let cases = if arguments.case.is_empty() { Case::value_variants() } else { &arguments.case };
        let mut all = Vec::new();
        for &limit in &arguments.limit {
            for &cpu in &arguments.cpu {
                for &case in cases {
                    let transports = if case.has_tls_only() { &[Transport::Tls][..] } else { &arguments.transport };
                    all.extend(transports.iter().map(|&transport| Self { limit, cpu, transport, case }));
                }
            }
        }
        all
    }

    pub(super) fn case_name(&self) -> String {
        value_name(&self.case)
    }

    pub(super) fn transport_name(&self) -> String {
        value_name(&self.transport)
    }

    /// Limits of the gateway's group.
    pub(super) fn limits(&self) -> Limits {
        Limits { memory: self.limit.as_u64(), cpu: Some(self.cpu) }
    }
}

/// Reads a size such as `128MiB`.
pub(super) fn size(text: &str) -> Result<ByteSize, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size),
        _ => Err(format!("{text:?} is not a size; write it like 128MiB")),
    }
}
