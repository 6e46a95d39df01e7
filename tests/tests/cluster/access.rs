//! Who may do what.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use postern_tests::cluster::PolicyRule;

use crate::client::{client, code, start};

#[tokio::test]
async fn a_user_may_do_what_was_granted_where_it_was_granted() {
    let (cluster, _) = start().await;
    let token = cluster.add_user("system:serviceaccount:kourier-system:postern");
    let limited = client(&cluster, &token);
    let rules = vec![PolicyRule::new("", "secrets", &["list"])];
    cluster.grant("system:serviceaccount:kourier-system:postern", Some("default"), rules);
    let here: Api<Secret> = Api::namespaced(limited.clone(), "default");
    assert!(here.list(&ListParams::default()).await.is_ok());
    let everywhere: Api<Secret> = Api::all(limited);
    let Err(kube::Error::Api(status)) = everywhere.list(&ListParams::default()).await else { panic!("not refused") };
    let text = "secrets is forbidden: User \"system:serviceaccount:kourier-system:postern\" cannot list resource \
                \"secrets\" in API group \"\" at the cluster scope";
    assert_eq!((status.code, status.message.as_str()), (403, text));
    cluster.revoke_grants("system:serviceaccount:kourier-system:postern");
    assert_eq!(code(here.list(&ListParams::default()).await), 403);
}

#[tokio::test]
async fn a_token_that_is_no_longer_known_is_unauthorized() {
    let (cluster, _) = start().await;
    let expired = client(&cluster, &cluster.add_user("x"));
    cluster.remove_user("x");
    let secrets: Api<Secret> = Api::all(expired);
    assert_eq!(code(secrets.list(&ListParams::default()).await), 401);
}
