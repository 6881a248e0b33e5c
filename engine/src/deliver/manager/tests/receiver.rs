//! A webhook endpoint on a real socket that does as it is told and remembers what it saw.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::Sha256;
use std::sync::Arc;
use std::time::Instant;

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) at: Instant,
    /// What it was answered; 0: nothing, the connection is held.
    pub(super) status: u16,
    headers: HeaderMap,
    bytes: Bytes,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    pub(super) fn body(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    pub(super) fn id(&self) -> String {
        let of_body = || self.body()["id"].as_str().unwrap().to_owned();
        self.header("ce-id").unwrap_or_else(of_body)
    }

    pub(super) fn data(&self) -> Value {
        let body = self.body();
        body.get("data").cloned().unwrap_or(body)
    }

    /// Checks the signature as the documentation tells a receiver to.
    pub(super) fn is_signed_with(&self, secret: &str) -> bool {
        let header = self.header("weir-signature").unwrap();
        let (t, v1) = header.split_once(",v1=").unwrap();
        let t = t.strip_prefix("t=").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{t}.{}.", self.id()).as_bytes());
        mac.update(&self.bytes);
        let hex: String =
            mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        hex == v1
    }
}

type Script = Box<dyn Fn(usize, &Seen) -> u16 + Send + Sync>;

struct Inner {
    seen: Vec<Seen>,
    script: Script,
    handshakes: usize,
    refuse: usize,
}

/// See the module.
pub(super) struct Receiver {
    inner: Arc<Mutex<Inner>>,
    url: String,
}

impl Receiver {
    /// `script` gives the status for the n-th request, from 0.
    pub(super) async fn start(
        script: impl Fn(usize, &Seen) -> u16 + Send + Sync + 'static,
    ) -> Self {
        let script: Script = Box::new(script);
        let inner = Inner { seen: vec![], script, handshakes: 0, refuse: 0 };
        let inner = Arc::new(Mutex::new(inner));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, url }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.inner.lock().seen.clone()
    }

    pub(super) fn handshakes(&self) -> usize {
        self.inner.lock().handshakes
    }

    pub(super) fn refuse_handshakes(&self, times: usize) {
        self.inner.lock().refuse = times;
    }

    /// Forgets what it saw and does something else from now on.
    pub(super) fn forget(&self, script: impl Fn(usize, &Seen) -> u16 + Send + Sync + 'static) {
        let mut inner = self.inner.lock();
        inner.seen.clear();
        inner.script = Box::new(script);
    }
}

async fn answer(
    State(inner): State<Arc<Mutex<Inner>>>,
    method: Method,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    if method == Method::OPTIONS {
        return shake_hands(&mut inner.lock(), &headers);
    }
    let status = {
        let mut inner = inner.lock();
        let mut seen = Seen { at: Instant::now(), status: 0, headers, bytes };
        seen.status = (inner.script)(inner.seen.len(), &seen);
        inner.seen.push(seen.clone());
        seen.status
    };
    if status == 0 {
        std::future::pending::<()>().await;
    }
    StatusCode::from_u16(status).unwrap().into_response()
}

fn shake_hands(inner: &mut Inner, headers: &HeaderMap) -> Response {
    inner.handshakes += 1;
    assert!(headers.contains_key("webhook-request-rate"));
    if inner.handshakes <= inner.refuse {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let origin = headers["webhook-request-origin"].clone();
    ([("WebHook-Allowed-Origin", origin)], StatusCode::OK).into_response()
}
