//! What is kept of a Service and its EndpointSlices: one text of bytes.

use crate::packed::{Reader, put_number};
use crate::translate::service::PackedService;
use crate::translate::slice::PackedSlice;

/// A Service, if it exists, and its slices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    pub(super) service: Option<PackedService<'a>>,
    /// Each with its length.
    slices: Reader<'a>,
}

impl<'a> Content<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        let mut slices = Reader(bytes);
        let service = match slices.number() {
            None | Some(0) => None,
            Some(length) => take(&mut slices, length - 1).map(PackedService),
        };
        Self { service, slices }
    }

    pub(super) fn slices(self) -> impl Iterator<Item = PackedSlice<'a>> {
        let mut bytes = self.slices;
        std::iter::from_fn(move || {
            let length = bytes.number()?;
            take(&mut bytes, length).map(PackedSlice)
        })
    }

    /// The slice of that name; the Service is called `service`.
    pub(super) fn slice(self, name: &str, service: &str) -> Option<PackedSlice<'a>> {
        self.slices().find(|slice| slice.is_named(name, service))
    }

    /// True if nothing is kept.
    pub(super) fn is_empty(self) -> bool {
        self.service.is_none() && self.slices.0.is_empty()
    }

    /// The same with another Service, or none.
    pub(super) fn with_service(self, service: Option<PackedService<'_>>) -> Vec<u8> {
        let mut bytes = head(service);
        bytes.extend_from_slice(self.slices.0);
        bytes
    }

    /// The same without the slice `before`, and with `now`.
    pub(super) fn with_slice(self, before: Option<PackedSlice<'_>>, now: Option<PackedSlice<'_>>) -> Vec<u8> {
        let mut bytes = head(self.service);
        for slice in self.slices().filter(|slice| before != Some(*slice)).chain(now) {
            put_number(&mut bytes, slice.0.len() as u64);
            bytes.extend_from_slice(slice.0);
        }
        bytes
    }
}

fn head(service: Option<PackedService<'_>>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    let Some(PackedService(service)) = service else { return vec![0] };
    put_number(&mut bytes, service.len() as u64 + 1);
    bytes.extend_from_slice(service);
    bytes
}

fn take<'a>(bytes: &mut Reader<'a>, length: u64) -> Option<&'a [u8]> {
    bytes.take(usize::try_from(length).ok()?)
}
