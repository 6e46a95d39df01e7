//! A WebSocket client.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{Stream, in_time};
use crate::{Result, ensure};

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket<S> {
    socket: WebSocketStream<S>,
}

impl<S: Stream> WebSocket<S> {
    /// Upgrades a stream to a URL such as `ws://shop.test/chat`.
    pub async fn open(stream: S, url: &str) -> Result<Self> {
        let (socket, _response) = tokio_tungstenite::client_async(url, stream).await?;
        Ok(Self { socket })
    }

    /// Sends a text and waits for its echo.
    pub async fn echo(&mut self, text: &str) -> Result<()> {
        self.socket.send(Message::text(text)).await?;
        let answer = in_time("an echo", self.socket.next()).await?.ok_or("the WebSocket ended")??;
        ensure(answer.to_text()? == text, || format!("sent {text:?}, got {answer:?}"))
    }
}
