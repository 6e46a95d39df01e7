//! `WebSockets` that stay open and echo now and then; one that breaks is a failure, and is opened again.

use std::time::Duration;

use fastrand::Rng;
use postern_tests::client::websocket::WebSocket;

use super::names::host;
use super::world::{How, World};
use crate::order::{Count, Failure};

/// Between two messages, at most.
const PAUSE: Duration = Duration::from_secs(4);

/// Starts them, for as long as the process lives; not all at once.
pub(crate) fn start(world: &World) {
    let mut rng = Rng::with_seed(world.target().seed ^ 0x0057_6562);
    for number in 0..world.target().websockets {
        let (world, rng) = (world.clone(), rng.fork());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20) * number).await;
            chat_for_ever(world, rng).await;
        });
    }
}

async fn chat_for_ever(world: World, mut rng: Rng) {
    loop {
        let number = world.names().pick(&mut rng);
        if let Some((stream, _)) = world.handshake(number, How::default()).await {
            let _open = world.tally().open();
            let chat = async {
                let mut socket = WebSocket::open(stream, &format!("ws://{}/chat", host(number))).await?;
                loop {
                    socket.echo(&format!("message {}", rng.u32(..))).await?;
                    world.tally().count(Count::Echoes);
                    tokio::time::sleep(PAUSE.mul_f64(rng.f64())).await;
                }
            };
            let ended: postern_tests::Result<std::convert::Infallible> = chat.await;
            let Err(error) = ended;
            world.tally().fail(Failure::WebSocket, || format!("WebSocket to {}: {error}", host(number)));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
