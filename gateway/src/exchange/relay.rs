//! The relay: copies a request to an endpoint and its response back, both ways at once.
//!
//! Nothing is read without a place to put it: a chunk of a response is read when the client can take one, a chunk of a
//! request when the endpoint can. So an exchange holds one chunk each way, and what the kernel keeps of either connection.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::replay::Replay;
use super::side::{ClientError, ClientStream, EndpointError, EndpointStream};
use crate::deadline::Deadline;
use crate::ledger::{Account, Stalled};
use crate::message::{BodyLength, RequestHead, ResponseHead};

/// Time without progress after which an exchange whose client has to act is cancelled before others are refused.
const STILL: Duration = Duration::from_secs(1);

/// Chunks that are copied in one turn before other tasks have theirs.
const CHUNKS_AT_ONCE: usize = 4;

/// The limits of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Time for which neither side may send a byte; `None` for no limit.
    pub(crate) idle: Option<Duration>,
    /// Bytes of the request body; `None` for no limit.
    pub(crate) request_body: Option<u64>,
}

/// The reason why an exchange ended before its response did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Client(ClientError),
    Endpoint(EndpointError),
    /// The request body is larger than it may be.
    BodyTooLarge,
    /// The client took nothing for longest, and others need the memory.
    Shed,
}

impl From<ClientError> for Broken {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<EndpointError> for Broken {
    fn from(error: EndpointError) -> Self {
        Self::Endpoint(error)
    }
}

/// What is done to a response before the client sees it.
pub(crate) trait Filter {
    /// Changes a final head, and takes note of it.
    fn response(&mut self, head: &mut ResponseHead);
}

/// The state of one exchange with one endpoint.
pub(crate) struct Relay<'a, C, E, F> {
    client: &'a mut C,
    endpoint: &'a mut E,
    filter: &'a mut F,
    replay: &'a mut Replay,
    limits: Limits,
    upload: Upload,
    download: Download,
    /// Chunks of the replay that were sent.
    replayed: usize,
    is_upgrade: bool,
    watch: Watch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    Body,
    Done,
    /// The endpoint takes no more of the request; it may have answered all the same.
    Failed(EndpointError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Download {
    Head,
    Body,
    /// Everything was sent; some of it is still to be taken.
    Flush,
    Done,
}

impl<'a, C: ClientStream, E: EndpointStream, F: Filter> Relay<'a, C, E, F> {
    /// Sends the head and starts to copy.
    pub(crate) fn new(
        client: &'a mut C,
        endpoint: &'a mut E,
        filter: &'a mut F,
        replay: &'a mut Replay,
        (head, account): (&RequestHead, &Arc<Account>),
        limits: Limits,
    ) -> Self {
        endpoint.send_head(head);
        let upload = if head.body == BodyLength::Empty { Upload::Done } else { Upload::Body };
        Self {
            client,
            endpoint,
            filter,
            replay,
            limits,
            upload,
            download: Download::Head,
            replayed: 0,
            is_upgrade: head.upgrade.is_some(),
            watch: Watch::new(Arc::clone(account)),
        }
    }

    /// Copies until the client has all of the response. What is left of the request body then is the client stream's
    /// business.
    ///
    /// Dropped, it leaves both sides as they are.
    pub(crate) async fn run(&mut self) -> Result<(), Broken> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Returns `true` if nothing of a final response has been sent.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.download == Download::Head
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut turns = CHUNKS_AT_ONCE;
        let mut uploaded = self.poll_upload(cx, &mut turns)?;
        let was_done = self.upload == Upload::Done;
        let downloaded = self.poll_download(cx, &mut turns)?;
        if was_done && self.upload == Upload::Body {
            // A tunnel has begun: what the client sends through it wakes this task only once it has been asked for.
            uploaded = self.poll_upload(cx, &mut turns)?;
        }
        if self.download == Download::Done {
            return Poll::Ready(Ok(()));
        }
        if turns == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Poll::Ready(error) = self.client.poll_gone(cx) {
            return Poll::Ready(Err(error.into()));
        }
        let awaits_client = self.download == Download::Flush
            || downloaded == Awaited::Client
            || (self.upload == Upload::Body && uploaded == Awaited::Client && self.watch.has_moved());
        self.watch.poll(turns < CHUNKS_AT_ONCE, awaits_client, self.limits.idle, cx).map(Err)
    }

    /// Sends on what there is of the request. Returns who has to act before there is more.
    fn poll_upload(&mut self, cx: &mut Context<'_>, turns: &mut usize) -> Result<Awaited, Broken> {
        if let Upload::Failed(_) = self.upload {
            return Ok(Awaited::Endpoint);
        }
        let mut awaited = Awaited::Endpoint;
        while self.upload == Upload::Body && *turns > 0 {
            match self.endpoint.poll_ready(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Ok(self.upload_failed(error)),
                Poll::Ready(Ok(())) => {}
            }
            match self.next_upload(cx) {
                Poll::Pending => {
                    awaited = Awaited::Client;
                    break;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(Some(data))) => {
                    *turns -= 1;
                    self.endpoint.send_data(data);
                }
                Poll::Ready(Ok(None)) => {
                    let trailers = self.client.take_trailers();
                    self.endpoint.send_end(trailers.as_ref());
                    self.upload = Upload::Done;
                }
            }
        }
        match self.endpoint.poll_flush(cx) {
            Poll::Ready(Err(error)) => Ok(self.upload_failed(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(awaited),
        }
    }

    fn upload_failed(&mut self, error: EndpointError) -> Awaited {
        self.upload = Upload::Failed(error);
        Awaited::Endpoint
    }

    /// The next chunk of the request: of what was kept for another attempt, then of the client.
    fn next_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        if let Some(chunk) = self.replay.chunk(self.replayed) {
            self.replayed += 1;
            return Poll::Ready(Ok(Some(chunk)));
        }
        if self.replay.is_ended() {
            return Poll::Ready(Ok(None));
        }
        let chunk = std::task::ready!(self.client.poll_body(cx))?;
        let Some(data) = &chunk else {
            self.replay.end();
            return Poll::Ready(Ok(None));
        };
        if !self.replay.keep(data, self.download == Download::Head, self.limits.request_body) {
            return Poll::Ready(Err(Broken::BodyTooLarge));
        }
        self.replayed += 1;
        Poll::Ready(Ok(chunk))
    }

    /// Sends on what there is of the response. Returns who has to act before there is more.
    fn poll_download(&mut self, cx: &mut Context<'_>, turns: &mut usize) -> Result<Awaited, Broken> {
        let mut awaited = Awaited::Endpoint;
        while *turns > 0 {
            match self.download {
                Download::Head => match self.endpoint.poll_head(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Err(error)) => return Err(self.download_failed(error)),
                    Poll::Ready(Ok(head)) => self.take_head(head)?,
                },
                Download::Body => {
                    if self.client.poll_ready(cx)?.is_pending() {
                        awaited = Awaited::Client;
                        break;
                    }
                    match self.endpoint.poll_body(cx) {
                        Poll::Pending => break,
                        Poll::Ready(Err(error)) => return Err(self.download_failed(error)),
                        Poll::Ready(Ok(Some(data))) => {
                            *turns -= 1;
                            self.client.send_data(data);
                        }
                        Poll::Ready(Ok(None)) => {
                            let trailers = self.endpoint.take_trailers();
                            self.client.send_end(trailers.as_ref());
                            self.download = Download::Flush;
                        }
                    }
                }
                Download::Flush | Download::Done => break,
            }
        }
        match self.client.poll_flush(cx)? {
            Poll::Ready(()) if self.download == Download::Flush => self.download = Download::Done,
            Poll::Ready(()) => {}
            Poll::Pending => awaited = Awaited::Client,
        }
        Ok(awaited)
    }

    fn take_head(&mut self, mut head: ResponseHead) -> Result<(), Broken> {
        if head.is_interim() {
            self.client.send_interim(&head);
            return Ok(());
        }
        if head.status == 101 && !self.is_upgrade {
            return Err(Broken::Endpoint(EndpointError::Malformed));
        }
        self.filter.response(&mut head);
        self.client.send_head(&head);
        if head.status == 101 {
            self.client.start_tunnel();
            self.endpoint.start_tunnel();
            self.upload = Upload::Body;
            self.replay.forget();
            self.limits.request_body = None;
            self.download = Download::Body;
        } else {
            self.download = if head.body == BodyLength::Empty { Download::Flush } else { Download::Body };
        }
        Ok(())
    }

    /// The error of the request counts where the response failed after it: it says more.
    fn download_failed(&self, error: EndpointError) -> Broken {
        match self.upload {
            Upload::Failed(earlier) if error == EndpointError::Broken => earlier.into(),
            _ => error.into(),
        }
    }
}

/// The side that has to act before an exchange goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Client,
    Endpoint,
}

/// Watches for exchanges that make no progress.
struct Watch {
    account: Arc<Account>,
    deadline: Deadline,
    since: Option<Instant>,
    stalled: Option<Stalled>,
    has_moved: bool,
}

impl Watch {
    fn new(account: Arc<Account>) -> Self {
        Self { account, deadline: Deadline::default(), since: None, stalled: None, has_moved: false }
    }

    fn has_moved(&self) -> bool {
        self.has_moved
    }

    /// Returns when the exchange is to end.
    fn poll(
        &mut self,
        has_moved: bool,
        awaits_client: bool,
        idle: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Poll<Broken> {
        if has_moved {
            self.has_moved = true;
            self.since = None;
            self.stalled = None;
        }
        if idle.is_none() && !awaits_client {
            self.stalled = None;
            return Poll::Pending;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if let Some(idle) = idle
            && self.deadline.poll(since + idle, cx).is_ready()
        {
            let side = if awaits_client { ClientError::TimedOut.into() } else { EndpointError::TimedOut.into() };
            return Poll::Ready(side);
        }
        if !awaits_client {
            self.stalled = None;
            return Poll::Pending;
        }
        if self.stalled.is_none() && self.deadline.poll(since + STILL, cx).is_ready() {
            self.stalled = Some(self.account.stalled());
        }
        match &self.stalled {
            Some(stalled) if stalled.is_cancelled(cx) => Poll::Ready(Broken::Shed),
            _ => Poll::Pending,
        }
    }
}
