//! Secrets: listed as metadata, read one by one.

use super::*;

const SECRET: &str = r#"{"metadata":{"resourceVersion":"12"},"data":{"tls.crt":"Q0hBSU4=","tls.key":"S0VZ"}}"#;

fn secret() -> ObjectRef {
    ObjectRef::new("shop", "cert")
}

fn reader(api: &ScriptedApi) -> SecretReader {
    SecretReader::new(api.client(), ReaderOptions::default())
}

#[tokio::test(start_paused = true)]
async fn secrets_are_listed_and_watched_as_metadata_alone() {
    let api = ScriptedApi::default();
    let cert = r#"{"metadata":{"namespace":"shop","name":"cert","resourceVersion":"4"}}"#.to_owned();
    api.script("list", "secrets", [Reply::whole(list(&[cert], "7", None))]);
    let mut world = World::with(&api, Options { secret_labels: Some("a=b".to_owned()), ..paged() });
    world.synced().await;
    assert_eq!(world.others, [ObjectKey { kind: ObjectKind::Secret, object: secret() }]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let seen = api.seen("secrets");
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert!(request.accept.contains("as=PartialObjectMetadata"), "{request:?}");
        assert!(request.uri.contains("fieldSelector=type%3Dkubernetes.io%2Ftls&labelSelector=a%3Db"), "{request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_secrets_those_are_told_that_somebody_refers_to() {
    let api = ScriptedApi::default();
    let item = |name: &str, version: u32| {
        format!(r#"{{"metadata":{{"namespace":"shop","name":"{name}","resourceVersion":"{version}"}}}}"#)
    };
    api.script(
        "list",
        "secrets",
        [Reply::whole(list(&[item("cert", 4), item("sh.helm.release.v1.a.v1", 5)], "7", None))],
    );
    let roster = SecretRoster::new();
    assert_eq!(roster.follow(&secret()), None);
    let mut world = World::for_roster(&api, Arc::clone(&roster), Options { secret_type: None, ..paged() });
    world.synced().await;
    assert!(!api.seen("secrets")[0].uri.contains("fieldSelector"));
    assert_eq!(world.others, [ObjectKey { kind: ObjectKind::Secret, object: secret() }]);
    assert_eq!(roster.version(&secret()).as_deref(), Some("4"));
    let helm = ObjectRef::new("shop", "sh.helm.release.v1.a.v1");
    assert_eq!((roster.version(&helm), roster.follow(&helm).as_deref()), (None, Some("5")));
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_read_with_one_request() {
    let api = ScriptedApi::default();
    api.script("get", "secrets", [Reply::whole(SECRET)]);
    let content = reader(&api).load(&secret()).await.unwrap();
    assert_eq!((&*content.certificate_chain, &*content.version), (&b"CHAIN"[..], "12"));
    let seen = api.seen("secrets");
    assert_eq!((seen.len(), seen[0].uri.trim_end_matches('?')), (1, "/api/v1/namespaces/shop/secrets/cert"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_time_gets_it_from_all_readers() {
    let api = ScriptedApi::default();
    api.script("get", "secrets", [Reply::refuse(429).retry_after(5), Reply::whole(SECRET), Reply::whole(SECRET)]);
    let (first, second) = (reader(&api), ObjectRef::new("shop", "other"));
    let begun = Instant::now();
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        first.clone().load(&second).await
    };
    let cert = secret();
    let (one, two) = tokio::join!(first.load(&cert), later);
    assert!(one.is_ok() && two.is_ok());
    assert!(api.seen("secrets")[1..].iter().all(|seen| seen.at - begun >= Duration::from_secs(5)));
}

#[tokio::test(start_paused = true)]
async fn what_another_attempt_cannot_mend_is_said_at_once() {
    let cases = [
        (404, "secret shop/cert does not exist"),
        (400, "secret shop/cert could not be fetched: the API server answers 400: as scripted"),
    ];
    for (status, expected) in cases {
        let api = ScriptedApi::default();
        api.script("get", "secrets", [Reply::refuse(status)]);
        let error = reader(&api).load(&secret()).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(api.seen("secrets").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_denies_for_a_moment_is_asked_again() {
    let api = ScriptedApi::default();
    api.script("get", "secrets", [403, 403, 403].map(Reply::refuse));
    api.script("get", "secrets", [Reply::whole(SECRET)]);
    let begun = Instant::now();
    reader(&api).load(&secret()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_denial_that_lasts_is_believed_and_then_said_at_once() {
    let api = ScriptedApi::default();
    api.script("get", "secrets", (0..100).map(|_| Reply::refuse(403)));
    let reader = reader(&api);
    let begun = Instant::now();
    let error = reader.load(&secret()).await.unwrap_err().to_string();
    let expected = r#"secret shop/cert may not be read: expected a rule with apiGroups: [""], resources: ["secrets"]"#;
    assert!(error.starts_with(expected), "{error}");
    assert!((5..8).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let (begun, asked) = (Instant::now(), api.seen("secrets").len());
    assert!(matches!(reader.clone().load(&secret()).await, Err(SecretFetchError::Forbidden { .. })));
    assert_eq!((begun.elapsed(), api.seen("secrets").len()), (Duration::ZERO, asked + 1));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_costs_the_deadline_and_no_more() {
    let api = ScriptedApi::default();
    api.script("get", "secrets", [Reply::hang(), Reply::watch(&["{".to_owned()]), Reply::hang(), Reply::hang()]);
    let begun = Instant::now();
    let error = reader(&api).load(&secret()).await.unwrap_err();
    assert!(matches!(error, SecretFetchError::Unavailable { .. }), "{error}");
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_secrets_are_read_at_a_time() {
    let api = ScriptedApi::default();
    api.script("get", "secrets", (0..100).map(|_| Reply::hang()));
    let reader = reader(&api);
    let cert = secret();
    let loads = (0..100).map(|_| Box::pin(reader.load(&cert)));
    let mut all: Vec<_> = loads.collect();
    let poll = std::future::poll_fn(|context| {
        for load in &mut all {
            assert!(load.as_mut().poll(context).is_pending());
        }
        std::task::Poll::<()>::Pending
    });
    assert!(timeout(Duration::from_secs(3), poll).await.is_err());
    assert_eq!(api.seen("secrets").len(), 32);
}

#[tokio::test(start_paused = true)]
async fn a_server_in_trouble_is_asked_again_after_waits_that_double_and_differ() {
    let mut waits = Vec::new();
    for _ in 0..5 {
        let api = ScriptedApi::default();
        api.script("get", "secrets", [500, 502, 503, 429].map(Reply::refuse));
        api.script("get", "secrets", [Reply::whole(SECRET)]);
        reader(&api).load(&secret()).await.unwrap();
        let at: Vec<_> = api.seen("secrets").iter().map(|seen| seen.at).collect();
        for (pair, most) in at.windows(2).zip([100, 200, 400, 800]) {
            let wait = (pair[1] - pair[0]).as_millis();
            assert!((most / 2..=most + 2).contains(&wait), "{wait} ms of at most {most}");
        }
        waits.push(at[4] - at[0]);
    }
    waits.dedup();
    assert!(waits.len() > 1, "all waited for {waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_server_asks_for_is_kept_whatever_it_answers() {
    for status in [429, 503] {
        let api = ScriptedApi::default();
        api.script("get", "secrets", [Reply::refuse(status).retry_after(3), Reply::whole(SECRET)]);
        reader(&api).load(&secret()).await.unwrap();
        let seen = api.seen("secrets");
        assert!(seen[1].at - seen[0].at >= Duration::from_secs(3), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_made_than_the_rate_allows() {
    let api = ScriptedApi::default();
    api.script("get", "secrets", (0..45).map(|_| Reply::whole(SECRET)));
    let reader = SecretReader::new(api.client(), ReaderOptions { rate: 10.0, burst: 5.0, ..Default::default() });
    let begun = Instant::now();
    let loads: Vec<_> = (0..45)
        .map(|_| {
            tokio::spawn({
                let (reader, cert) = (reader.clone(), secret());
                async move { reader.load(&cert).await.map(drop) }
            })
        })
        .collect();
    for load in loads {
        load.await.unwrap().unwrap();
    }
    let within =
        |seconds| api.seen("secrets").iter().filter(|seen| seen.at - begun <= Duration::from_secs(seconds)).count();
    assert!((5..=16).contains(&within(1)) && (20..=26).contains(&within(2)), "{} and {}", within(1), within(2));
}
