//! Requests on the wire: deliveries and handshakes.
//!
//! Promise: no redirect is followed and no proxy used, so nothing goes where `egress` has not looked;
//! an answer is waited for no longer than the response timeout and read no further than a bound.

use super::egress::Egress;
use super::event::Outgoing;
use super::handshake::{self, Grant, NotGranted};
use super::ladder::{Outcome, parse_retry_after};
use super::signature::{SIGNATURE_HEADER, sign};
use super::subscription::SubscriptionError;
use reqwest::{Client, Method, Response, redirect};
use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use weir_ingest::io::Clock;

/// Bytes of an answer read so that its connection can be used again; beyond, it is closed.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const ATTEMPT_HEADER: &str = "weir-attempt";
const USER_AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));

/// Sends for all subscriptions, over shared connections.
#[derive(Debug)]
pub(super) struct Sender {
    egress: Egress,
    origin: String,
    clock: Arc<dyn Clock>,
    plain: Client,
    /// Set up when first needed: it reads the machine's root certificates, which may be missing.
    secure: OnceLock<Result<Client, String>>,
}

impl Sender {
    pub(super) fn new(
        egress: Egress,
        origin: String,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SubscriptionError> {
        install_provider();
        let plain = builder(&egress)
            .tls_certs_only([])
            .build()
            .map_err(|error| SubscriptionError::Client(chain(&error)))?;
        Ok(Self { egress, origin, clock, plain, secure: OnceLock::new() })
    }

    pub(super) fn egress(&self) -> &Egress {
        &self.egress
    }

    fn client(&self, scheme: &str) -> Result<&Client, String> {
        if scheme == "http" {
            return Ok(&self.plain);
        }
        let secure = self
            .secure
            .get_or_init(|| builder(&self.egress).build().map_err(|error| chain(&error)));
        secure.as_ref().map_err(Clone::clone)
    }

    /// One attempt.
    pub(super) async fn send(
        &self,
        url: &str,
        secret: &str,
        event: &Outgoing,
        attempt: u32,
        timeout: Duration,
    ) -> Outcome {
        let url = match self.egress.check_target(url) {
            Ok(url) => url,
            Err(error) => return Outcome::Forbidden(error.to_string()),
        };
        let client = match self.client(url.scheme()) {
            Ok(client) => client,
            Err(error) => return Outcome::Failed(error),
        };
        let unix_s = self.clock.wall_us().div_euclid(1_000_000);
        let mut request = client
            .post(url)
            .timeout(timeout)
            .header(SIGNATURE_HEADER, sign(secret, unix_s, &event.id, &event.body))
            .header(ATTEMPT_HEADER, attempt);
        for (name, value) in &event.headers {
            request = request.header(*name, value);
        }
        match request.body(event.body.clone()).send().await {
            Ok(response) => self.answered(response).await,
            Err(error) => failure(&error),
        }
    }

    async fn answered(&self, response: Response) -> Outcome {
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(reqwest::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| parse_retry_after(value, self.clock.wall_us()));
        drain(response).await;
        Outcome::Answered { status, retry_after }
    }

    /// Asks the endpoint whether it wants our events.
    pub(super) async fn ask(&self, url: &str, timeout: Duration) -> Result<Grant, NotGranted> {
        let unreachable = |why: String| NotGranted::Unreachable(why);
        let url = self.egress.check_target(url).map_err(|error| unreachable(error.to_string()))?;
        let client = self.client(url.scheme()).map_err(unreachable)?;
        let response = client
            .request(Method::OPTIONS, url)
            .timeout(timeout)
            .header(handshake::REQUEST_ORIGIN, &self.origin)
            .header(handshake::REQUEST_RATE, handshake::RATE_PER_MINUTE)
            .send()
            .await
            .map_err(|error| unreachable(failure(&error).describe()))?;
        let judged = handshake::judge(response.status().as_u16(), response.headers(), &self.origin);
        drain(response).await;
        judged
    }
}

fn builder(egress: &Egress) -> reqwest::ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .dns_resolver(Arc::new(egress.clone()))
}

/// The process needs one TLS provider; whoever came first has chosen, and it is ring.
fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

fn failure(error: &reqwest::Error) -> Outcome {
    match error.is_timeout() {
        true => Outcome::TimedOut,
        false => Outcome::Failed(chain(error)),
    }
}

/// An error with its causes; the first alone says only that sending failed.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Reads the answer to its end, so that the connection is kept alive.
async fn drain(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > ANSWER_BYTES_MAX {
            return;
        }
    }
}
