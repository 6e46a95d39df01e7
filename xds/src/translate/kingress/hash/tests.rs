use std::fmt::Write as _;

use super::*;
use crate::object::KIngress;

fn hex(hash: [u8; 32]) -> String {
    hash.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn spec(json: &str) -> KIngressSpec {
    serde_json::from_str(json).unwrap()
}

fn go_json(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, GoFormatter)).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The two vectors of knative.dev/networking's own test.
#[test]
fn the_hash_is_knatives() {
    let plain = r#"{"rules":[{"hosts":["example.com"],"http":{"paths":[{"splits":[
        {"serviceNamespace":"","serviceName":"blah","servicePort":0}]}]}}]}"#;
    let headers = r#"{"rules":[{"hosts":["example.com"],"http":{"paths":[{"splits":[
        {"serviceNamespace":"","serviceName":"blah","servicePort":0,"appendHeaders":{"Foo":"bar"}}]}]}}]}"#;
    for (json, expected) in [
        (plain, "a25000a350642c8abef53078b329bd043e18758f6063c1172d53b04e14fcf5c1"),
        (headers, "6b652c7abed871354affd4a9cb699d33816f24541fac942149b91ad872fe63ca"),
    ] {
        assert_eq!(hex(probe_hash(&spec(json), &ObjectRef::new("", ""))), expected);
    }
}

#[test]
fn namespace_and_name_are_hashed_after_the_spec() {
    let json = br#"{"httpOption":"Enabled"}shophello"#;
    let expected: [u8; 32] = Sha256::digest(json).into();
    assert_eq!(probe_hash(&spec(r#"{"httpOption":"Enabled"}"#), &ObjectRef::new("shop", "hello")), expected);
}

#[test]
fn fields_stand_in_gos_order_and_empty_ones_are_left_out_as_go_does() {
    let given = r#"{"httpOption":"Redirected","unknown":1,"rules":[{"http":{"paths":[
        {"appendHeaders":{"b":"2","a":"1","B":"0"},"splits":null,"headers":{"T":{}},"path":"/","rewriteHost":"r"},
        {"splits":[{"percent":100,"servicePort":"http","serviceName":"s","serviceNamespace":"n"}]},
        {"splits":[]}]},
        "visibility":"ExternalIP","hosts":[]},{"http":{}},{}],
        "tls":[{"secretNamespace":"n","secretName":"c","hosts":["h"]},{}]}"#;
    let expected = concat!(
        r#"{"tls":[{"hosts":["h"],"secretName":"c","secretNamespace":"n"},{}],"#,
        r#""rules":[{"visibility":"ExternalIP","http":{"paths":["#,
        r#"{"path":"/","rewriteHost":"r","headers":{"T":{"exact":""}},"splits":null,"#,
        r#""appendHeaders":{"B":"0","a":"1","b":"2"}},"#,
        r#"{"splits":[{"serviceNamespace":"n","serviceName":"s","servicePort":"http","percent":100}]},"#,
        r#"{"splits":[]}]}},{"http":{"paths":null}},{}],"httpOption":"Redirected"}"#,
    );
    assert_eq!(go_json(&spec(given)), expected);
}

#[test]
fn a_whole_object_is_hashed_by_its_spec() {
    let ingress: KIngress = serde_json::from_str(r#"{"metadata":{"name":"a"},"spec":{},"status":{}}"#).unwrap();
    assert_eq!(go_json(&ingress.spec), "{}");
}

/// What Go 1.22's encoder writes for a string, said anew from its documentation: one character at a time.
fn go_string(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[test]
fn odd_strings_are_written_as_go_writes_them() {
    let mut random = fastrand::Rng::with_seed(7);
    let odd: Vec<char> =
        "\0\u{1}\u{8}\u{b}\u{c}\u{1f}\u{7f}\u{80}\u{2027}\u{2028}\u{2029}\u{fffd}\u{10ffff}<>&\"\\/'é\n\r\t"
            .chars()
            .collect();
    for _ in 0..20_000 {
        let length = random.usize(..12);
        let text: String =
            (0..length).map(|_| if random.bool() { odd[random.usize(..odd.len())] } else { random.char(..) }).collect();
        assert_eq!(go_json(&text), go_string(&text), "{text:?}");
    }
}

#[test]
fn map_keys_are_sorted_by_their_bytes() {
    let keys = ["é", "z", "Z", "a-b", "a", "\u{1f600}", "\u{ffee}"];
    let headers = keys.map(|key| format!("{}:\"1\"", go_string(key))).join(",");
    let path = format!(r#"{{"rules":[{{"http":{{"paths":[{{"appendHeaders":{{{headers}}}}}]}}}}]}}"#);
    let mut sorted = keys;
    sorted.sort_by_key(|key| key.as_bytes().to_vec());
    let expected = sorted.map(|key| format!("{}:\"1\"", go_string(key))).join(",");
    assert!(go_json(&spec(&path)).contains(&expected));
}
