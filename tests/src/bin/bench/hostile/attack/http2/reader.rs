//! The receiving side: frames from the gateway, as far as an attacker must know them.

use std::io;

use postern_tests::client::frames::{
    ACK, DATA, END_STREAM, FRAME_HEAD, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc;

use super::windows::Window;

/// What the writer must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Bytes to be sent back.
    Answer(Vec<u8>),
    Window(Window),
    /// The end of a stream.
    Ended(u32),
}

/// Reads until GOAWAY or the end.
pub(super) async fn read_events(stream: impl AsyncRead + Unpin, events: mpsc::Sender<Event>) -> io::Result<()> {
    const BUFFER: usize = 2 * 1024;
    let mut stream = BufReader::with_capacity(BUFFER, stream);
    let mut payload = Vec::new();
    loop {
        let mut head = [0; FRAME_HEAD];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, number @ ..] = head;
        payload.resize(u32::from_be_bytes([0, a, b, c]) as usize, 0);
        stream.read_exact(&mut payload).await?;
        if kind == GOAWAY {
            return Ok(());
        }
        for event in of_frame(kind, flags, u32::from_be_bytes(number), &payload).into_iter().flatten() {
            if events.send(event).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Events in the order in which the writer is to see them: without an acknowledgement, the gateway's settings do not hold.
fn of_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> [Option<Event>; 2] {
    let has = |flag: u8| flags & flag != 0;
    match kind {
        SETTINGS if !has(ACK) => {
            let acknowledgement = Event::Answer(frame(SETTINGS, ACK, 0, &[]));
            [Some(acknowledgement), Window::of_settings(payload).map(Event::Window)]
        }
        PING if !has(ACK) => [Some(Event::Answer(frame(PING, ACK, 0, payload))), None],
        WINDOW_UPDATE => [Window::of_update(stream, payload).map(Event::Window), None],
        RST_STREAM => [Some(Event::Ended(stream)), None],
        HEADERS | DATA if has(END_STREAM) => [Some(Event::Ended(stream)), None],
        _ => [None, None],
    }
}
