//! The program under test: the gateway, or a peer in its place.

use std::process::ExitStatus;

use postern_tests::gateway::{Gateway, Usage};
use postern_tests::{Error, Result};

use crate::peer::Envoy;
use crate::scrape::Scrape;

/// A program under test; killed when dropped.
#[derive(Debug)]
pub(crate) enum Subject {
    Postern(Box<Gateway>),
    Envoy(Box<Envoy>),
}

impl Subject {
    /// How it has ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        match self {
            Self::Postern(gateway) => gateway.has_ended(),
            Self::Envoy(envoy) => envoy.has_ended(),
        }
    }

    /// Memory and CPU time it has used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        match self {
            Self::Postern(gateway) => gateway.usage(),
            Self::Envoy(envoy) => envoy.usage(),
        }
    }

    /// What its metrics say, if it has such as the gateway.
    pub(crate) async fn scrape(&self) -> Option<Scrape> {
        match self {
            Self::Postern(gateway) => Scrape::of(gateway).await,
            Self::Envoy(_) => None,
        }
    }

    /// An error, with what the program has logged.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self {
            Self::Postern(gateway) => gateway.explain(error),
            Self::Envoy(envoy) => envoy.explain(&error.to_string()),
        }
    }
}
