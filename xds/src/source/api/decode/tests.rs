use super::*;

const SLICE: &str = r#"{"kind":"EndpointSlice","metadata":{"name":"web-1","namespace":"shop","resourceVersion":"9",
  "labels":{"kubernetes.io/service-name":"web"},"managedFields":[{"manager":"kcm","fieldsV1":{"f:ports":{}}}]},
  "addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true},"targetRef":{"kind":"Pod"}}],
  "ports":[{"name":"http","port":8080,"protocol":"TCP"}]}"#;

#[test]
fn an_endpoint_slice_keeps_what_is_read_and_nothing_else() {
    let found = item(ObjectKind::EndpointSlice, SLICE).unwrap();
    assert_eq!((found.key.to_string().as_str(), found.version.as_str()), ("EndpointSlice shop/web-1", "9"));
    let Ok(Object::EndpointSlice(slice)) = found.object else { panic!("{found:?}") };
    let mut whole: EndpointSlice = serde_json::from_str(SLICE).unwrap();
    whole.metadata.managed_fields = None;
    whole.endpoints[0].target_ref = None;
    assert_eq!(*slice, whole);
}

#[test]
fn a_secret_is_a_name_and_a_version_whatever_the_server_sends() {
    let json = r#"{"metadata":{"name":"cert","namespace":"shop","resourceVersion":"4","annotations":
        {"kubectl.kubernetes.io/last-applied-configuration":"PRIVATE"}},"data":{"tls.key":"PRIVATE"}}"#;
    let found = item(ObjectKind::Secret, json).unwrap();
    assert!(!format!("{found:?}").contains("PRIVATE"));
    let Ok(Object::Secret(secret)) = found.object else { panic!("{found:?}") };
    assert_eq!(&*secret.version, "4");
}

#[test]
fn a_malformed_object_is_known_by_name_and_its_field_is_named() {
    let json = r#"{"metadata":{"name":"web","namespace":"shop","resourceVersion":"5","labels":{}},
        "spec":{"rules":[{"hosts":"web.test"}]}}"#;
    let found = item(ObjectKind::KIngress, json).unwrap();
    assert_eq!(found.key.to_string(), "KIngress shop/web");
    let wrong = found.object.unwrap_err();
    assert_eq!(wrong.field.as_deref(), Some("spec.rules[0].hosts"));
    assert!(wrong.message.contains("expected a sequence"), "{}", wrong.message);
}

#[test]
fn an_object_without_a_name_is_an_error() {
    assert!(item(ObjectKind::Service, r#"{"metadata":{"namespace":"shop"}}"#).is_err());
}

#[test]
fn the_copy_that_kubectl_keeps_is_let_go() {
    let json = r#"{"metadata":{"name":"web","annotations":
        {"kubectl.kubernetes.io/last-applied-configuration":"{}","a":"b"}},"spec":{"type":"ExternalName"}}"#;
    let Ok(Object::Service(service)) = item(ObjectKind::Service, json).unwrap().object else { panic!() };
    assert_eq!(service.metadata.annotations.unwrap().into_keys().collect::<Vec<_>>(), ["a"]);
}
