//! The receiving side: frames from the gateway, as far as an attacker must know them.

use std::io;

use postern_tests::client::frames::{
    ACK, DATA, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};
use tokio::io::{AsyncRead, BufReader};
use tokio::sync::mpsc;

use crate::http2::windows::Window;
use crate::http2::{FrameHead, read_frame};

/// News for the writer.
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
        let head = read_frame(&mut stream, &mut payload).await?;
        if head.kind == GOAWAY {
            return Ok(());
        }
        for event in of_frame(head, &payload).into_iter().flatten() {
            if events.send(event).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Events in the order in which the writer is to see them: without an acknowledgement, the gateway's settings do not hold.
fn of_frame(head: FrameHead, payload: &[u8]) -> [Option<Event>; 2] {
    let stream = head.stream;
    match head.kind {
        SETTINGS if !head.has(ACK) => {
            let acknowledgement = Event::Answer(frame(SETTINGS, ACK, 0, &[]));
            [Some(acknowledgement), Window::of_settings(payload).map(Event::Window)]
        }
        PING if !head.has(ACK) => [Some(Event::Answer(frame(PING, ACK, 0, payload))), None],
        WINDOW_UPDATE => [Window::of_update(stream, payload).map(Event::Window), None],
        RST_STREAM => [Some(Event::Ended(stream)), None],
        HEADERS | DATA if head.has(END_STREAM) => [Some(Event::Ended(stream)), None],
        _ => [None, None],
    }
}
