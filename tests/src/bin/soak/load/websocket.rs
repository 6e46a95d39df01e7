//! `WebSockets` that stay open and echo now and then; one that breaks is a failure, and is opened again.

use std::convert::Infallible;
use std::time::Duration;

use fastrand::Rng;
use postern_tests::Error;
use postern_tests::client::websocket::WebSocket;

use super::names::host;
use super::sign;
use super::world::{How, Tls, World};
use crate::order::{Count, Failure, Sign};

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
            let Err((error, sign)) = chat(&world, stream, number, &mut rng).await;
            world.tally().fail(Failure::WebSocket, sign, || format!("WebSocket to {}: {error}", host(number)));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Until something breaks; once open, it stays so whatever stage the gateway is in.
async fn chat(world: &World, stream: Tls, number: usize, rng: &mut Rng) -> Result<Infallible, (Error, Sign)> {
    let mut socket = match WebSocket::open(stream, &format!("ws://{}/chat", host(number))).await {
        Ok(socket) => socket,
        Err(error) => {
            let sign = sign::of_upgrade(&error);
            return Err((error, sign));
        }
    };
    loop {
        let text = format!("message {}", rng.u32(..));
        socket.echo(&text).await.map_err(|error| (error, Sign::Other))?;
        world.tally().count(Count::Echoes);
        tokio::time::sleep(PAUSE.mul_f64(rng.f64())).await;
    }
}
