//! A body in memory that is wiped.

use http_body_util::BodyExt;
use kube::client::Body;
use zeroize::Zeroizing;

use crate::causes;
use crate::source::api::request::Failure;

/// Begins with so much where the server does not say how much will come.
const UNKNOWN: usize = 16 << 10;

/// Reads all of a body. Every buffer that it has stood in is wiped, also those it has grown out of.
pub(super) async fn read(mut body: Body, limit: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let told = http_body::Body::size_hint(&body).upper().map_or(UNKNOWN as u64, |most| most.min(limit as u64));
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(told).unwrap_or(limit)));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::Broken { reason: causes(&error) })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(Failure::TooLarge { limit });
        }
        if bytes.capacity() - bytes.len() < data.len() {
            bytes = larger(&bytes, data.len());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// `Vec` would leave the old bytes behind when it grows.
fn larger(bytes: &[u8], more: usize) -> Zeroizing<Vec<u8>> {
    let mut larger = Zeroizing::new(Vec::with_capacity((bytes.len() * 2).max(bytes.len() + more)));
    larger.extend_from_slice(bytes);
    larger
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let body = || Body::from(vec![b'x'; 100_000]);
        assert_eq!(read(body(), 100_000).await.unwrap().len(), 100_000);
        assert!(matches!(read(body(), 99_999).await, Err(Failure::TooLarge { limit: 99_999 })));
    }

    #[test]
    fn growing_keeps_what_was_there() {
        let grown = larger(b"abc", 10);
        assert_eq!(&**grown, b"abc");
        assert!(grown.capacity() >= 13);
    }
}
