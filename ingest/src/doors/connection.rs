//! One connection: HTTP/1.1, or HTTP/2 by prior knowledge, told apart by its first bytes.
//!
//! Promise: a client that says nothing is not waited for beyond `header_timeout_ms`, twice that where
//! HTTP/2 has nothing under way; a stop lets answers finish. Over HTTP/2 at most `STREAMS_MAX` requests are
//! under way at once, each in a task of its own: that is how one connection has many single readings in one
//! sync of the log.

use crate::model::Limits;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Bytes a connection buffers; also the largest request head.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Requests of one HTTP/2 connection that are under way at once; the client keeps the others back.
const STREAMS_MAX: u32 = 128;
/// Bytes of bodies that an HTTP/2 client may send before they are read: of one request, of all.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// What an HTTP/2 client sends first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between two looks at a preface of which only a part has come.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

type Ended = Result<(), Box<dyn Error + Send + Sync>>;

/// How connections are served.
#[derive(Debug, Clone)]
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    patience: Duration,
}

impl Protocols {
    pub(super) fn new(limits: &Limits) -> Self {
        let patience = Duration::from_millis(limits.header_timeout_ms);
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).max_buf_size(BUFFER_BYTES_MAX).header_read_timeout(patience);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(u32::try_from(BUFFER_BYTES_MAX).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(BUFFER_BYTES_MAX);
        Self { http1, http2, patience }
    }

    /// Serves a connection until it ends or `stop` says so; `answer` never fails.
    /// # Errors
    /// How it ended, if not in order.
    pub(super) async fn serve<F>(
        &self,
        stream: TcpStream,
        stop: watch::Receiver<bool>,
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Ended
    where
        F: Future<Output = Result<Response, Infallible>> + Send + 'static,
    {
        let stopped = said(stop.clone());
        let http2 = tokio::select! {
            first = timeout(self.patience, begins_with_preface(&stream)) => first??,
            () = stopped => return Ok(()),
        };
        match http2 {
            true => self.serve_http2(stream, stop, answer).await,
            false => self.serve_http1(stream, stop, service_fn(answer)).await,
        }
    }

    async fn serve_http1<S>(
        &self,
        stream: TcpStream,
        stop: watch::Receiver<bool>,
        service: S,
    ) -> Ended
    where
        S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Send,
        S::Future: Send + 'static,
    {
        let mut connection =
            pin!(self.http1.serve_connection(TokioIo::new(stream), service).with_upgrades());
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            () = said(stop) => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }

    async fn serve_http2<F>(
        &self,
        stream: TcpStream,
        stop: watch::Receiver<bool>,
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Ended
    where
        F: Future<Output = Result<Response, Infallible>> + Send + 'static,
    {
        let requests = Arc::new(Requests::default());
        let idle = idle(Arc::clone(&requests), self.patience);
        let service = service_fn(move |request| {
            requests.begun.fetch_add(1, Ordering::Relaxed);
            let place = Arc::clone(&requests);
            let answered = answer(request);
            async move {
                let response = answered.await?;
                Ok::<_, Infallible>(response.map(|body| Body::new(Counted { body, _place: place })))
            }
        });
        let mut connection = pin!(self.http2.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            () = said(stop) => connection.as_mut().graceful_shutdown(),
            () = idle => connection.as_mut().graceful_shutdown(),
        }
        // Whoever does not read its last answers is not waited for.
        Ok(timeout(self.patience, connection).await??)
    }
}

/// Returns when a stop is said, or nobody is left to say it.
async fn said(mut stop: watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// Requests of one HTTP/2 connection: each that is under way holds a reference.
#[derive(Debug, Default)]
struct Requests {
    begun: AtomicU64,
}

/// An answer's body; its request is under way until it has been sent or given up.
struct Counted {
    body: Body,
    _place: Arc<Requests>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Returns when for all of `patience` no request was under way.
async fn idle(requests: Arc<Requests>, patience: Duration) {
    // Held here, by the service, and by each request.
    const NOBODY: usize = 2;
    loop {
        let begun = requests.begun.load(Ordering::Relaxed);
        sleep(patience).await;
        let none_since = requests.begun.load(Ordering::Relaxed) == begun;
        if none_since && Arc::strong_count(&requests) <= NOBODY {
            return;
        }
    }
}

/// Whether the client speaks HTTP/2; takes none of its bytes.
async fn begins_with_preface(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    loop {
        let came = stream.peek(&mut first).await?;
        if came == 0 || !PREFACE.starts_with(&first[..came]) {
            return Ok(false);
        }
        if came == PREFACE.len() {
            return Ok(true);
        }
        sleep(LOOK_AGAIN).await;
    }
}
