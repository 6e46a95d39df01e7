//! The least a proxy can do: send everything to the backend, and tell what is known of a connection.

use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::ResponseHeader;
use pingora_proxy::{ProxyHttp, Session};
use postern::connection;

pub(crate) struct TestProxy {
    pub(crate) backend: SocketAddr,
}

#[async_trait]
impl ProxyHttp for TestProxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora_error::Result<bool> {
        if session.req_header().uri.path() != "/facts" {
            return Ok(false);
        }
        let text = facts(session);
        let mut header = ResponseHeader::build(200, None)?;
        header.insert_header("content-length", text.len().to_string())?;
        session.write_response_header(Box::new(header), false).await?;
        session.write_response_body(Some(Bytes::from(text)), true).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora_error::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.backend, false, String::new())))
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        _: &mut ResponseHeader,
        (): &mut (),
    ) -> pingora_error::Result<()> {
        if connection::is_ending(session) {
            session.set_keepalive(None);
        }
        Ok(())
    }
}

fn facts(session: &Session) -> String {
    let Some(connection) = connection::of(session) else {
        return "no connection".to_owned();
    };
    let tls = connection.tls.as_ref().map_or("plain".to_owned(), |tls| {
        let name = tls.server_name.as_deref().unwrap_or("none");
        let secret = tls.secret.as_ref().map_or("default".to_owned(), ToString::to_string);
        format!("{} {name} {secret}", tls.protocol_version)
    });
    let client = session.client_addr().map_or("none".to_owned(), ToString::to_string);
    assert_eq!(client, connection.client.to_string());
    format!("{} {client} {} {tls}", connection.listener, connection.local)
}
