//! The handshake: `ClientHello`, name, certificate, session.

use std::fmt;
use std::future::poll_fn;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use certstore::{CertStore, Certificate, ClientKey, CoveredNames, SecretRef};
use foldhash::fast::RandomState;
use rustls::ServerConfig;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::alert::Alert;
use super::client_hello::{self, Begun};
use super::config::{ConfigError, SELECTED, Selected, server_config};
use super::figures::{Figures, InFlight};
use super::outcome::Outcome;
use super::{HandshakeError, Settings};
use crate::connection::{Socket, TlsFacts};
use crate::listener::ListenerName;
use crate::live::Live;
use crate::tables::Tables;

/// Terminates TLS for all listeners.
pub struct Terminator {
    config: Arc<ServerConfig>,
    settings: Live<Settings>,
    tables: Tables,
    certificates: Arc<CertStore>,
    /// Nobody can choose addresses that are taken for somebody else's.
    clients: RandomState,
    figures: Figures,
}

/// A session that was agreed on.
#[derive(Debug)]
pub struct Established {
    /// Carries the session's data.
    pub stream: Box<TlsStream<Socket>>,
    /// For the requests of the connection.
    pub facts: TlsFacts,
    /// For example `TLS13_AES_128_GCM_SHA256`.
    pub cipher: Option<&'static str>,
    /// Whether ALPN chose `h2`.
    pub http2: bool,
}

/// Of [`Settings`], what bounds one handshake.
#[derive(Clone, Copy, Debug)]
struct Limits {
    first_byte_timeout: Duration,
    handshake_timeout: Duration,
    hello_limit: usize,
    send_buffer: usize,
}

/// What a server name leads to.
struct Binding {
    server_name: Option<Arc<str>>,
    secret: SecretRef,
    is_default: bool,
}

impl Terminator {
    /// Looks names up in `tables` and gets certificates from `certificates`.
    ///
    /// Of the settings, versions and protocols stay as they are now.
    pub fn new(
        settings: impl Into<Live<Settings>>,
        tables: Tables,
        certificates: Arc<CertStore>,
    ) -> Result<Self, ConfigError> {
        let settings = settings.into();
        let config = server_config(&settings.load())?;
        Ok(Self { config, settings, tables, certificates, clients: RandomState::default(), figures: Figures::new() })
    }

    /// Shakes hands on `socket`, which `listener` accepted; on refusal, says so to the client and closes. `source` is
    /// the client's address, or what stands for its network.
    ///
    /// `turn` is asked for once the client has sent something, and what it yields is held to the end: the place of this
    /// handshake among those that may be under way. While its certificate has to be loaded it has none, and asks for another
    /// afterwards. `None` refuses it.
    ///
    /// `processors` bounds the handshakes of the client that compute at a time: those of others wait behind no more of them.
    pub async fn accept<T, F: Future<Output = Option<T>>>(
        &self,
        socket: Socket,
        listener: ListenerName,
        source: IpAddr,
        turn: impl Fn() -> F,
        processors: &Semaphore,
    ) -> Result<Established, HandshakeError> {
        let limits = self.limits();
        let first_byte = timeout(limits.first_byte_timeout, socket.readable()).await;
        let began = Instant::now();
        let deadline = began + limits.handshake_timeout;
        let shake = self.shake_hands(socket, limits, listener, source, || self.take_turn(turn()), processors);
        let result = match first_byte {
            Ok(Ok(true)) => timeout_at(deadline, shake).await.unwrap_or(Err(HandshakeError::TimedOut)),
            Ok(Ok(false) | Err(_)) | Err(_) => Err(HandshakeError::NoHello),
        };
        self.report(began, listener, &result);
        result
    }

    /// As they are set now. Not looked at again in a handshake.
    fn limits(&self) -> Limits {
        let Settings { first_byte_timeout, handshake_timeout, hello_limit, send_buffer, .. } = **self.settings.load();
        Limits { first_byte_timeout, handshake_timeout, hello_limit, send_buffer }
    }

    async fn shake_hands<T, F: Future<Output = Result<T, HandshakeError>>>(
        &self,
        mut socket: Socket,
        limits: Limits,
        listener: ListenerName,
        source: IpAddr,
        turn: impl Fn() -> F,
        processors: &Semaphore,
    ) -> Result<Established, HandshakeError> {
        let mut place = Some(turn().await?);
        socket.set_read_budget(Some(limits.hello_limit));
        let Begun { mut start, offers_tls13 } = match client_hello::read(socket).await {
            Ok(begun) => begun,
            Err(refused) => {
                drop(place);
                return Err(refused.answer().await);
            }
        };
        let binding = match self.binding(start.client_hello().server_name(), listener) {
            Ok(binding) => binding,
            Err(error) => {
                drop(place);
                Alert::UnrecognizedName.send(&mut start.io).await;
                return Err(error);
            }
        };
        let certificate = {
            let certificate = pin!(self.certificate(&binding, source));
            before_waiting(certificate, || place = None).await
        };
        let certificate = match certificate {
            Ok(certificate) => certificate,
            Err(error) => {
                drop(place);
                Alert::InternalError.send(&mut start.io).await;
                return Err(error);
            }
        };
        let key = certificate.certified_key_for(start.client_hello().signature_schemes(), offers_tls13);
        let Some(key) = key else {
            drop(place);
            Alert::HandshakeFailure.send(&mut start.io).await;
            return Err(HandshakeError::NoSignatureScheme { secret: binding.secret });
        };
        let names = certificate.names().clone();
        drop(certificate);
        let _place = match place {
            Some(place) => place,
            None => turn().await?,
        };
        let stream = self.agree(start, limits, Selected { key, secret: binding.secret.clone() }, processors).await?;
        Ok(self.established(stream, binding, names))
    }

    /// The rest of a handshake, with what was selected for it.
    async fn agree(
        &self,
        mut start: StartHandshake<Socket>,
        limits: Limits,
        selected: Selected,
        processors: &Semaphore,
    ) -> Result<Box<TlsStream<Socket>>, HandshakeError> {
        start.io.set_read_budget(Some(limits.hello_limit));
        let mut session = pin!(SELECTED.scope(selected, async {
            start
                .into_stream_with(Arc::clone(&self.config), |conn| conn.set_buffer_limit(Some(limits.send_buffer)))
                .await
        }));
        // The first poll agrees on a key and signs (RFC 8446 §4.4.3): that is what a handshake costs. It is held while others
        // have their turn, so that no more handshakes of a source than it has permits wait in their way.
        let processor = processors.acquire().await;
        tokio::task::yield_now().await;
        let computed = poll_fn(|cx| Poll::Ready(session.as_mut().poll(cx))).await;
        drop(processor);
        let session = match computed {
            Poll::Ready(session) => session,
            Poll::Pending => session.await,
        };
        let mut stream = Box::new(session.map_err(HandshakeError::of_session)?);
        stream.get_mut().0.set_read_budget(None);
        Ok(stream)
    }

    /// Finds the Secret for a name as rustls hands it over: lower case, and with a trailing dot if the client sent one.
    fn binding(&self, server_name: Option<&str>, listener: ListenerName) -> Result<Binding, HandshakeError> {
        let server_name = server_name.map(|name| name.strip_suffix('.').unwrap_or(name));
        let tables = self.tables.load();
        let bound = server_name
            .and_then(|name| tables.tls.lookup(name))
            .filter(|binding| listener.serves(*binding.policy))
            .map(|binding| (binding.secret.clone(), false));
        let default = || self.settings.load().default_certificate.clone().map(|secret| (secret, true));
        match (bound.or_else(default), server_name) {
            (Some((secret, is_default)), name) => Ok(Binding { server_name: name.map(Arc::from), secret, is_default }),
            (None, Some(name)) => Err(HandshakeError::UnknownServerName { server_name: name.to_owned() }),
            (None, None) => Err(HandshakeError::NoServerName),
        }
    }

    async fn certificate(&self, binding: &Binding, source: IpAddr) -> Result<Arc<Certificate>, HandshakeError> {
        let server_name = binding.server_name.as_deref().unwrap_or_default();
        let client = ClientKey(self.clients.hash_one(source));
        match self.certificates.certificate_for(&binding.secret, server_name, client).await {
            Ok(certificate) => Ok(certificate),
            Err(source) => Err(HandshakeError::Certificate { secret: binding.secret.clone(), source }),
        }
    }

    /// Counts and logs how a handshake ended.
    fn report(&self, began: Instant, listener: ListenerName, result: &Result<Established, HandshakeError>) {
        let outcome = result.as_ref().map_or_else(HandshakeError::outcome, |_| Outcome::Ok);
        self.figures.ended(outcome, began.elapsed());
        if let Err(error) = result {
            // certstore says at a higher level, and once, what is wrong with a certificate.
            tracing::debug!(%listener, error = error as &dyn std::error::Error, "refused a TLS handshake");
        }
    }

    /// Waits for `turn`, and counts if that takes more than a moment; and counts the handshake as under way while it is held.
    async fn take_turn<T>(&self, turn: impl Future<Output = Option<T>>) -> Result<(T, InFlight<'_>), HandshakeError> {
        let turn = before_waiting(pin!(turn), || self.figures.delayed()).await;
        Ok((turn.ok_or(HandshakeError::Overload)?, self.figures.begin()))
    }

    fn established(&self, stream: Box<TlsStream<Socket>>, binding: Binding, names: CoveredNames) -> Established {
        let session = stream.get_ref().1;
        let protocol_version = self.figures.established(session.protocol_version(), session.handshake_kind());
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let http2 = session.alpn_protocol() == Some(b"h2");
        let secret = (!binding.is_default).then_some(binding.secret);
        let facts = TlsFacts { server_name: binding.server_name, secret, names, protocol_version };
        Established { stream, facts, cipher, http2 }
    }
}

/// Waits for `future`, and does something first if it is not ready at once.
async fn before_waiting<F: Future>(mut future: Pin<&mut F>, act: impl FnOnce()) -> F::Output {
    tokio::select! {
        biased;
        output = future.as_mut() => return output,
        () = std::future::ready(()) => {}
    }
    act();
    future.await
}

impl fmt::Debug for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminator").field("settings", &self.settings).finish_non_exhaustive()
    }
}
