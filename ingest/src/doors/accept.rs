//! The accept loop: connections, their number, their patience, their end.
//!
//! Promise: loopback only; at most `connections_max` at once, the next one is told 503; a head that
//! does not come within `header_timeout_ms` ends its connection; a stop lets answers finish.
//! Without TLS. Elsewhere: what is spoken on a connection is `connection`'s.

use super::answer::{ErrorAnswer, method_not_allowed, not_found, unread};
use super::connection::Protocols;
use crate::model::Limits;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue, ToStrError};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How long a stop waits for answers under way.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Pause after the system had no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections beyond the limit that are told so at once; more are just closed.
const TURNED_AWAY_MAX: usize = 64;
/// How long one of them may take to hear it.
const TURN_AWAY_TIME: Duration = Duration::from_secs(1);

/// The listener cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another machine could reach it.
    #[error(
        "{0} is not a loopback address: without tokens and TLS weir answers only this machine; listen on 127.0.0.1 or [::1] and put a proxy that authenticates before it"
    )]
    NotLoopback(SocketAddr),
    /// The system refused.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// Listens on a loopback address; port 0 takes any.
/// # Errors
/// Not loopback, or the system's.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    check_loopback(address)?;
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

pub(super) fn check_loopback(address: SocketAddr) -> Result<(), ListenError> {
    if address.ip().is_loopback() { Ok(()) } else { Err(ListenError::NotLoopback(address)) }
}

/// Serves until `shutdown`, then lets answers under way finish. Paths nobody serves and methods
/// nobody has are answered here.
/// # Errors
/// The listener is not on loopback.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ListenError> {
    if let Ok(address) = listener.local_addr() {
        check_loopback(address)?;
    }
    let router = router.fallback(not_found).method_not_allowed_fallback(method_not_allowed);
    let server = Server::new(router, limits);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => server.welcome(stream, &mut connections),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    server.stop.send_replace(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, finished).await.is_err() {
        tracing::info!(connections = connections.len(), "connections closed at the stop");
    }
    connections.shutdown().await;
    Ok(())
}

struct Server {
    router: Router,
    protocols: Protocols,
    places: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

impl Server {
    fn new(router: Router, limits: &Limits) -> Self {
        Self {
            router,
            protocols: Protocols::new(limits),
            places: Arc::new(Semaphore::new(limits.connections_max)),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY_MAX)),
            stop: watch::Sender::new(false),
        }
    }

    /// A task for the connection, if there is a place for it.
    fn welcome(&self, stream: TcpStream, connections: &mut JoinSet<()>) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            if let Ok(place) = Arc::clone(&self.turned_away).try_acquire_owned() {
                connections.spawn(async move {
                    let told = tokio::time::timeout(TURN_AWAY_TIME, turn_away(stream)).await;
                    drop((told, place));
                });
            }
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY is not to be had");
        }
        let router = TowerToHyperService::new(self.router.clone());
        let (protocols, stop) = (self.protocols.clone(), self.stop.subscribe());
        connections.spawn(async move {
            let answer = move |request| same_machine(router.clone(), request);
            let ended = protocols.serve(stream, stop, answer).await;
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
}

/// Says 503 and hears the client out, so that the answer is not lost in a reset.
async fn turn_away(mut stream: TcpStream) -> io::Result<()> {
    let answer = ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "too many connections are open")
        .hint("use fewer connections, or raise limits.connections_max");
    let body = answer.body().to_string();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await?;
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// Until tokens exist every caller on this machine may do everything, so a web page that a browser
/// on this machine shows must not be a caller: neither by its own name for this address (`Host`) nor
/// from its own origin (`Origin`).
async fn same_machine(
    router: TowerToHyperService<Router>,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let headers = request.headers();
    let named = |name| headers.get(name).map(HeaderValue::to_str);
    // HTTP/2 names the host in the target.
    let target = request.uri().authority().map(|authority| Ok(authority.as_str()));
    if [named(header::HOST), named(header::ORIGIN), target].into_iter().flatten().all(is_local) {
        return router.call(request).await;
    }
    let answer =
        ErrorAnswer::new(StatusCode::FORBIDDEN, "only callers on this machine are answered")
            .detail("the Host or Origin header names another one")
            .hint("use http://127.0.0.1 or http://localhost in the URL");
    Ok(unread(request.map(Body::new), answer).await.into_response())
}

fn is_local(value: Result<&str, ToStrError>) -> bool {
    let Ok(value) = value else { return false };
    let authority = value.split_once("://").map_or(value, |(_, authority)| authority);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}
