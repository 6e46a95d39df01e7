//! Any bytes as a file of manifests: nothing panics, and documents do not overlap.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    xds::source::dir::testing::read_manifest(bytes, false);
    xds::source::dir::testing::read_manifest(bytes, true);
});
