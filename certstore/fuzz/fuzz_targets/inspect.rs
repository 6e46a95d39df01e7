//! A Secret of any bytes is served or refused. The first NUL parts chain and key.
#![no_main]

use certstore::{PrivateKeyPem, SecretData, SecretRef, inspect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let certificate_chain = parts.next().unwrap_or_default().to_vec();
    let private_key = PrivateKeyPem::new(parts.next().unwrap_or_default().to_vec());
    let data = SecretData { certificate_chain, private_key, version: None };
    let _ = inspect(&SecretRef::new("namespace", "name"), &data, &["web.shop.test"]);
});
