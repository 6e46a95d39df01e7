use super::*;

fn secret() -> ObjectRef {
    ObjectRef::new("shop", "cert")
}

fn read(json: &str) -> Result<SecretContent, SecretFetchError> {
    content(&secret(), json.as_bytes())
}

#[test]
fn a_secret_is_decoded_and_its_key_is_not_shown() {
    let found = read(
        r#"{"metadata":{"resourceVersion":"12"},"type":"kubernetes.io/tls","data":{"tls.crt":"Q0hBSU4=","tls.key":"S0VZ"}}"#,
    )
    .unwrap();
    assert_eq!((&*found.certificate_chain, found.private_key.as_bytes()), (&b"CHAIN"[..], &b"KEY"[..]));
    assert_eq!(&*found.version, "12");
    assert!(!format!("{found:?}").contains("75, 69, 89"));
}

#[test]
fn what_is_missing_or_malformed_is_named_without_the_data() {
    let cases = [
        (r#"{"metadata":{"resourceVersion":"1"},"data":{"tls.crt":"QQ=="}}"#, "secret shop/cert has no tls.key"),
        (r#"{"metadata":{"resourceVersion":"1"}}"#, "secret shop/cert has no tls.crt"),
        (
            r#"{"metadata":{"resourceVersion":"1"},"data":{"tls.crt":"QQ==","tls.key":"*PRIVATE*"}}"#,
            "secret shop/cert: data.tls.key is not base64",
        ),
        (r#"{"metadata":{"resourceVersion":"1"},"data":{"tls.key":{"a":"PRIVATE"}}}"#, "a value of an unexpected type"),
    ];
    for (json, expected) in cases {
        let error = read(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    }
}

#[test]
fn a_name_cannot_lead_to_another_path() {
    for name in ["cert", "a.b-c", "1"] {
        assert!(is_name(name), "{name}");
    }
    for name in ["", "..", "a/b", "../x", "a?b", "A", "-a", "a-", "a%2fb", &"a".repeat(254)] {
        assert!(!is_name(name), "{name}");
    }
}
