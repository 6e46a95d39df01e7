//! What is cached.

use std::process::Stdio;

use postern_tests::client::get_plain;
use postern_tests::manifests::{base64, secret_of};
use postern_tests::patience::{PATIENCE, eventually};
use postern_tests::{Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::world::{NAMESPACE, World, certs, host};

#[tokio::test]
async fn what_is_cached_is_listed_with_what_its_certificate_says() -> Result<()> {
    let world = World::open(3).await?;
    assert_eq!(world.json(&["list"]).await?, Value::Array(Vec::new()), "nothing is loaded before it is asked for");
    let serial = world.handshake("s1.test").await?;
    let listed = world.json(&["list"]).await?;
    let [certificate] = listed.as_array().map(Vec::as_slice).unwrap_or_default() else { panic!("{listed}") };
    assert_eq!(certificate["secret"], "shop/s1.test");
    assert_eq!(certificate["names"], Value::from(["s1.test"].as_slice()));
    assert_eq!(certificate["serverNames"], Value::from(["s1.test"].as_slice()));
    assert_eq!((&certificate["askedFor"], &certificate["source"]), (&"s1.test".into(), &"secret".into()));
    assert!(certificate["issuer"].as_str().is_some_and(|issuer| issuer.contains("Postern test CA")), "{certificate}");
    let hexadecimal = certificate["serial"].as_str().unwrap_or_default().replace(':', "");
    assert_eq!(u64::from_str_radix(&hexadecimal, 16)?, serial);
    assert_eq!(certificate["fingerprintSha256"].as_str().map(str::len), Some(64));
    assert!(certificate["bytes"].as_u64().is_some_and(|bytes| bytes > 1000), "{certificate}");
    for time in ["notAfter", "loadedAt", "lastUsedAt"] {
        assert!(certificate[time].as_str().is_some_and(|time| time.ends_with('Z')), "{time}: {certificate}");
    }
    let printed = world.certs(&["list"]).await?;
    assert_eq!(printed.code, Some(0));
    assert!(printed.out.contains("shop/s1.test") && printed.out.contains("1 certificates"), "{}", printed.out);
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_refused_is_listed_with_the_reason() -> Result<()> {
    let world = World::open(2).await?;
    let bad = secret_of(NAMESPACE, "s1.test", &world.keys[1].chain, &world.keys[0].key);
    world.manifests.write("secret-s1.test.yaml", &[bad])?;
    eventually("the Secret is refused", async || {
        ensure(world.handshake("s1.test").await.is_err(), || "it is served".to_owned())
    })
    .await?;
    let printed = world.certs(&["list"]).await?;
    for text in ["0 certificates", "refused: shop/s1.test (s1.test) since 20", "does not match", "nothing is served"] {
        assert!(printed.out.contains(text), "{text:?} is not in {}", printed.out);
    }
    let listed = world.json(&["list"]).await?;
    assert_eq!(listed[0]["refused"]["reason"], "key_mismatch");
    let shown = world.certs(&["show", "s1.test"]).await?;
    assert!(shown.out.contains("refused") && shown.out.contains("does not match"), "{}", shown.out);
    Ok(())
}

#[tokio::test]
async fn a_long_list_comes_in_pages_in_the_order_of_secrets() -> Result<()> {
    let world = World::open(5).await?;
    for number in [4, 0, 3, 1, 2] {
        world.handshake(&host(number)).await?;
    }
    let admin = world.gateway.address("admin")?;
    let mut seen = Vec::new();
    for (query, expected) in [("limit=2", 2), ("limit=2&offset=2", 2), ("offset=4&limit=2", 1), ("offset=9", 0)] {
        let reply = get_plain(admin, &format!("/api/v1/certificates?{query}")).await?;
        assert_eq!((reply.status, reply.header("x-total-count")), (200, Some("5")), "{query}");
        let page: Value = serde_json::from_str(&reply.text())?;
        let secrets: Vec<_> = page.as_array().into_iter().flatten().map(|entry| entry["secret"].to_string()).collect();
        assert_eq!(secrets.len(), expected, "{query}");
        seen.extend(secrets);
    }
    assert_eq!(seen, (0..5).map(|number| format!("\"shop/{}\"", host(number))).collect::<Vec<_>>());
    let reply = get_plain(admin, "/api/v1/certificates?limit=all").await?;
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("not a whole number"), "{}", reply.text());
    Ok(())
}

#[tokio::test]
async fn the_last_good_certificate_is_told_from_the_bad_one_that_should_replace_it() -> Result<()> {
    let world = World::open(1).await?;
    let serial = world.handshake("s0.test").await?;
    let other = world.ca.issue(&["s0.test"])?;
    let bad = secret_of(NAMESPACE, "s0.test", &other.chain, &world.keys[0].key);
    world.manifests.write("secret-s0.test.yaml", &[bad])?;
    let listed = eventually("the fault is listed", async || {
        let listed = world.json(&["list"]).await?;
        ensure(listed[0]["lastError"].is_string(), || listed.to_string())?;
        Ok(listed)
    })
    .await?;
    let error = listed[0]["lastError"].as_str().unwrap_or_default();
    assert!(error.contains("does not match the first certificate in tls.crt"), "{error}");
    assert!(listed[0]["retryInSeconds"].is_number(), "{listed}");
    assert_eq!(world.handshake("s0.test").await?, serial);
    assert_eq!(world.json(&["show", "s0.test"]).await?["state"], "last good");
    let printed = world.certs(&["list"]).await?.out;
    assert!(printed.contains("last good; the newer one cannot be served"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn stats_tell_hits_misses_and_the_budget() -> Result<()> {
    let world = World::open(2).await?;
    for name in ["s0.test", "s1.test", "s0.test", "s0.test"] {
        world.handshake(name).await?;
    }
    let stats = world.json(&["stats"]).await?;
    for (name, expected) in [("hits", 2), ("misses", 2), ("loads", 2), ("entries", 2), ("budgetBytes", 8 << 20)] {
        assert_eq!(stats[name], expected, "{name} in {stats}");
    }
    assert_eq!(stats["hitRatio"], 0.5);
    let printed = world.certs(&["stats"]).await?.out;
    assert!(printed.contains("8.0 MiB") && printed.contains("50.00 % hits"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn no_answer_has_any_key() -> Result<()> {
    let world = World::open(2).await?;
    world.handshake("s0.test").await?;
    world.handshake("s1.test").await?;
    for arguments in [&["list"][..], &["show", "s0.test"], &["stats"], &["advise"], &["budget", "1MiB"]] {
        for output in ["human", "json"] {
            let printed = world.certs(&[arguments, &["--output", output]].concat()).await?;
            assert_eq!(printed.code, Some(0), "{arguments:?}: {printed:?}");
            for key in &world.keys {
                let of_manifest = base64(key.key.as_bytes());
                let middle = &of_manifest[of_manifest.len() / 2..][..32];
                let found = key.key_body_lines().any(|line| printed.out.contains(line));
                assert!(!found && !printed.out.contains(middle), "{arguments:?} {output}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn where_nothing_listens_it_says_what_to_do() -> Result<()> {
    // The port of a listener that is closed again.
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let printed = certs(&["list", "--admin", &free]).await?;
    assert_eq!(printed.code, Some(1), "{printed:?}");
    for expected in [&free, "no gateway's admin listener answers", "POSTERN_ADMIN"] {
        assert!(printed.err.contains(expected), "{expected} in {}", printed.err);
    }
    for arguments in [&["list", "--admin", "nowhere"][..], &["frobnicate"], &["show"], &["budget", "much"], &[]] {
        let printed = certs(arguments).await?;
        assert_eq!(printed.code, Some(64), "{arguments:?}: {printed:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() -> Result<()> {
    let world = World::open(1).await?;
    world.handshake("s0.test").await?;
    let admin = world.gateway.address("admin")?.to_string();
    let manifests = world.manifests.path().to_string_lossy().into_owned();
    let of_certs = |command: &'static str| vec!["certs", "--admin", &admin, command];
    let commands = [of_certs("list"), of_certs("stats"), vec!["check", &manifests]];
    for arguments in commands {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern-under-test"));
        command.args(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        // Closed before anything is written, as `head` does after its ten lines.
        drop(child.stdout.take());
        let output =
            tokio::time::timeout(PATIENCE, child.wait_with_output()).await.map_err(|_| "it does not end")??;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {}: {said}", output.status);
    }
    Ok(())
}
