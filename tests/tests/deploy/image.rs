//! The container image, as far as its Dockerfile says without being built.

use std::fs;

use postern_tests::Result;
use postern_tests::deployed;

use crate::rendered::{Rendered, list};

/// The instructions of the Dockerfile, continued lines joined, by stage.
fn stages() -> Result<Vec<Vec<(String, String)>>> {
    let text = fs::read_to_string(deployed::folder().join("Dockerfile"))?.replace("\\\n", " ");
    let mut stages: Vec<Vec<_>> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (instruction, arguments) = line.split_once(' ').ok_or_else(|| format!("{line}: not an instruction"))?;
        if instruction == "FROM" {
            stages.push(Vec::new());
        }
        let stage = stages.last_mut().ok_or("an instruction before FROM")?;
        stage.push((instruction.to_owned(), arguments.trim().to_owned()));
    }
    Ok(stages)
}

fn arguments<'a>(stage: &'a [(String, String)], instruction: &str) -> Vec<&'a str> {
    stage.iter().filter(|(name, _)| name == instruction).map(|(_, arguments)| arguments.as_str()).collect()
}

#[test]
fn it_runs_as_the_user_of_the_deployment_and_opens_its_ports() -> Result<()> {
    let (stages, base) = (stages()?, Rendered::base()?);
    let last = stages.last().ok_or("no stage")?;
    let security = &base.pod()?["spec"]["securityContext"];
    assert_eq!(arguments(last, "USER"), [format!("{}:{}", security["runAsUser"], security["runAsGroup"])]);
    let ports: Vec<_> =
        list(&base.container()?["ports"]).iter().map(|port| port["containerPort"].to_string()).collect();
    assert_eq!(arguments(last, "EXPOSE"), [ports.join(" ")]);
    Ok(())
}

#[test]
fn it_holds_the_command_alone_and_no_shell_runs_it() -> Result<()> {
    let stages = stages()?;
    let last = stages.last().ok_or("no stage")?;
    assert_eq!(arguments(last, "ENTRYPOINT"), ["[\"/usr/local/bin/postern\"]"]);
    assert_eq!(arguments(last, "COPY"), ["--from=build /postern /usr/local/bin/postern"]);
    assert!(arguments(last, "FROM")[0].starts_with("gcr.io/distroless/"));
    assert!(arguments(last, "RUN").is_empty());
    Ok(())
}

#[test]
fn everything_that_is_built_from_is_copied_and_nothing_else_is_sent() -> Result<()> {
    let root = deployed::folder().join("..");
    let workspace = fs::read_to_string(root.join("Cargo.toml"))?;
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ")).ok_or("no members")?;
    let members: Vec<String> = serde_json::from_str(members)?;
    let stages = stages()?;
    let copied: Vec<_> = arguments(&stages[0], "COPY").into_iter().flat_map(|copy| copy.split(' ')).collect();
    let ignored = fs::read_to_string(deployed::folder().join("Dockerfile.dockerignore"))?;
    assert!(ignored.starts_with("*\n"));
    for needed in members.iter().map(String::as_str).chain(["Cargo.toml", "Cargo.lock"]) {
        assert!(root.join(needed).exists() && copied.contains(&needed), "{needed} is not copied");
        assert!(ignored.lines().any(|line| line.strip_prefix('!') == Some(needed)), "{needed} is not sent");
    }
    Ok(())
}

#[test]
fn it_is_built_with_the_oldest_compiler_that_is_supported_or_a_newer_one() -> Result<()> {
    let stages = stages()?;
    let from = arguments(&stages[0], "FROM")[0];
    let version = from.strip_prefix("rust:").and_then(|rest| rest.split('-').next()).ok_or("not an image of Rust")?;
    let number = |text: &str| -> Result<Vec<u32>> { Ok(text.split('.').map(str::parse).collect::<Result<_, _>>()?) };
    assert!(number(version)? >= number(env!("CARGO_PKG_RUST_VERSION"))?, "{version}");
    Ok(())
}
