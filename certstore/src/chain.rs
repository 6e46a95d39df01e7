//! The chain of a Secret: in which order its certificates are sent, and what clients will miss in it.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;

use crate::secret::SecretRef;
use crate::warning::Warning;

/// Signature algorithms that clients reject (RFC 9155): SHA-1 and MD5.
const WEAK: [(&str, &str); 6] = [
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
    ("1.2.840.10040.4.3", "SHA-1"),
    ("1.3.14.3.2.29", "SHA-1"),
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.2", "MD2"),
];

/// id-ad-caIssuers (RFC 5280 §4.2.2.1): where the issuer's certificate is found.
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

/// The order in which the certificates of a chain are sent, by their positions in `tls.crt`, counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) sent: Vec<usize>,
    /// Left out, since they repeat others.
    pub(crate) repeated: Vec<usize>,
}

/// Orders a chain: the leaf, then each certificate's issuer.
///
/// A chain in order is left as it is, and so is one that begins with the leaf and cannot be put in order.
///
/// # Errors
/// The position of a certificate that has no place in the leaf's chain, where the leaf is not the first.
pub(crate) fn order(chain: &[X509Certificate<'_>], leaf: usize) -> Result<Order, usize> {
    let as_written = Order { sent: (0..chain.len()).collect(), repeated: Vec::new() };
    if leaf == 0 && broken_link(chain, &as_written.sent).is_none() {
        return Ok(as_written);
    }
    let mut sent = vec![leaf];
    while let Some(next) = issuer_of(sent[sent.len() - 1], &sent, chain) {
        sent.push(next);
    }
    let is_among = |at: usize, sent: &[usize]| sent.iter().any(|other| chain[*other].as_raw() == chain[at].as_raw());
    let (repeated, others): (Vec<_>, Vec<_>) =
        (0..chain.len()).filter(|at| !sent.contains(at)).partition(|at| is_among(*at, &sent));
    // Another certificate of an issuer in the chain, by which clients may find another root.
    let is_issuer = |at: usize, sent: &[usize]| sent.iter().any(|other| is_issued_by(&chain[*other], &chain[at]));
    match others.iter().find(|at| !is_issuer(**at, &sent)) {
        None => {
            sent.extend(others);
            Ok(Order { sent, repeated })
        }
        Some(_) if leaf == 0 => Ok(as_written),
        Some(stray) => Err(*stray),
    }
}

/// What is worth a word about a chain that is sent in this order.
pub(crate) fn warnings(secret: &SecretRef, chain: &[X509Certificate<'_>], order: &Order) -> Vec<Warning> {
    let secret = || secret.clone();
    let mut warnings = Vec::new();
    if let Some(at) = broken_link(chain, &order.sent) {
        warnings.push(Warning::ChainBroken { secret: secret(), position: order.sent[at] + 1 });
    }
    if !order.sent.iter().copied().eq(0..chain.len()) {
        let positions = |places: &[usize]| places.iter().map(|at| at + 1).collect::<Vec<_>>();
        let (sent, repeated) = (positions(&order.sent), positions(&order.repeated));
        warnings.push(Warning::ChainReordered { secret: secret(), sent, repeated });
    }
    for (place, at) in order.sent.iter().enumerate() {
        let certificate = &chain[*at];
        // Nobody looks at the signature of a root.
        let is_root = place > 0 && is_issued_by(certificate, certificate);
        let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
        let weak = WEAK.iter().find(|(oid, _)| *oid == algorithm && !is_root);
        warnings.extend(weak.map(|(_, hash)| Warning::WeakSignature { secret: secret(), position: at + 1, hash }));
    }
    if let [leaf] = &order.sent[..]
        && !is_issued_by(&chain[*leaf], &chain[*leaf])
        && says_where_issuer_is(&chain[*leaf])
    {
        warnings.push(Warning::ChainIncomplete { secret: secret(), issuer: chain[*leaf].issuer().to_string() });
    }
    warnings
}

/// The place of the first certificate whose issuer is not the next one.
fn broken_link(chain: &[X509Certificate<'_>], sent: &[usize]) -> Option<usize> {
    sent.windows(2).position(|pair| !is_issued_by(&chain[pair[0]], &chain[pair[1]]))
}

/// By name: what else may differ, clients find out.
fn is_issued_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == issuer.subject().as_raw()
}

/// The issuer of a certificate among those that have no place yet: the one with its key, if there are several of that
/// name, and a root only where there is no other, since nothing follows it.
fn issuer_of(at: usize, placed: &[usize], chain: &[X509Certificate<'_>]) -> Option<usize> {
    let certificate = &chain[at];
    let is_placed = |at: usize| placed.iter().any(|other| chain[*other].as_raw() == chain[at].as_raw());
    let candidates = (0..chain.len()).filter(|at| !is_placed(*at) && is_issued_by(certificate, &chain[*at]));
    let wanted = authority_key(certificate);
    candidates.min_by_key(|at| {
        let has_other_key = wanted.is_some() && subject_key(&chain[*at]).is_some_and(|key| Some(key) != wanted);
        (has_other_key, is_issued_by(&chain[*at], &chain[*at]))
    })
}

fn authority_key<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(key) => key.key_identifier.as_ref().map(|key| key.0),
        _ => None,
    })
}

fn subject_key<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0),
        _ => None,
    })
}

/// A certificate that a root has issued itself does not say where the root's is.
fn says_where_issuer_is(certificate: &X509Certificate<'_>) -> bool {
    certificate.extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => {
            access.accessdescs.iter().any(|access| access.access_method.to_id_string() == CA_ISSUERS)
        }
        _ => false,
    })
}
