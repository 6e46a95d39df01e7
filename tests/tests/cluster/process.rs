//! The cluster in a process of its own.

use std::process::Stdio;

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use postern_tests::patience::PATIENCE;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_simulated-cluster"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, output }
    }

    async fn says(&mut self) -> Value {
        let line = timeout(PATIENCE, self.output.next_line()).await.expect("a line in time").unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn told(&mut self, command: &Value) -> Value {
        self.input.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        self.says().await
    }
}

#[tokio::test]
async fn the_process_serves_the_services_it_is_asked_for_and_does_what_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let mut process = Process::start(&["--services", "3", "--kubeconfig", kubeconfig.to_str().unwrap()]);
    assert_eq!(process.says().await["ready"], true);
    let kubeconfig = Kubeconfig::read_from(&kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let secrets: Api<Secret> = Api::all(Client::try_from(config).unwrap());
    let listed = async || secrets.list(&ListParams::default()).await.unwrap().items;
    let before = listed().await;
    assert_eq!(before.len(), 3);
    let renewed = process.told(&json!({"command": "renew", "first": 2, "count": 1})).await;
    assert!(renewed["ok"] == true && renewed["serials"][0].is_u64(), "{renewed}");
    let after = listed().await;
    let renewed = before.iter().zip(&after).filter(|(before, after)| before.data != after.data).count();
    assert_eq!(renewed, 1);
    let requests = process.told(&json!({"command": "requests"})).await;
    assert_eq!(requests["requests"][0]["count"], 2);
}

#[tokio::test]
async fn the_process_answers_nonsense_and_ends_with_its_input() {
    let mut process = Process::start(&[]);
    process.says().await;
    assert_eq!(process.told(&json!({"command": "dance"})).await["ok"], false);
    drop(process.input);
    assert!(timeout(PATIENCE, process.child.wait()).await.expect("an end in time").unwrap().success());
}
