//! Talks to a running server over HTTP.
//!
//! Promise: every failure says what the server said and what to do next; nothing is retried here
//! except what the server itself asked to be retried.

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Where a server listens unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "http://127.0.0.1:8520";

/// The media types of answers.
pub mod media {
    /// Arrow IPC stream.
    pub const ARROW: &str = "application/vnd.apache.arrow.stream";
    /// One JSON document.
    pub const JSON: &str = "application/json";
    /// One JSON object a line.
    pub const NDJSON: &str = "application/x-ndjson";
    /// Comma-separated values with a header.
    pub const CSV: &str = "text/csv";
}

/// Which request of which sender: the server stores its rows once, however often it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// The sender; nobody else has this one.
    pub producer: u64,
    /// Rows it sent before.
    pub sequence: u64,
}

impl Number {
    /// The first request of a new sender.
    pub fn first() -> Self {
        Self { producer: RandomState::new().build_hasher().finish(), sequence: 0 }
    }

    /// The request after one of so many rows.
    #[must_use]
    pub fn after(self, rows: usize) -> Self {
        Self { sequence: self.sequence + rows as u64, ..self }
    }
}

/// A server.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
}

impl Client {
    /// For the server at `base`, such as [`DEFAULT_ADDRESS`].
    /// # Errors
    /// `base` is no http address.
    pub fn new(base: &str) -> Result<Self> {
        let base = base.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(5))
            .pool_max_idle_per_host(1)
            .build()
            .context("no HTTP client can be made")?;
        reqwest::Url::parse(&base)
            .with_context(|| format!("'{base}' is no address; write --to {DEFAULT_ADDRESS}"))?;
        Ok(Self { base, http })
    }

    /// The address without a trailing slash.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends SQL, answers with columns.
    /// # Errors
    /// The server's sentence with its detail and hint.
    pub async fn sql(&self, text: &str) -> Result<Vec<RecordBatch>> {
        let bytes = self.sql_as(text, media::ARROW).await?.bytes().await?;
        batches(&bytes)
    }

    /// Sends SQL, answers in the media type asked for.
    /// # Errors
    /// As [`Self::sql`].
    pub async fn sql_as(&self, text: &str, accept: &str) -> Result<Response> {
        let request = self
            .request(Method::POST, "/v1/sql")
            .header("content-type", "application/sql")
            .header("accept", accept)
            .body(text.to_owned());
        self.send(request).await
    }

    /// Gets a path.
    /// # Errors
    /// As [`Self::sql`].
    pub async fn get(
        &self,
        path: &str,
        query: &[(String, String)],
        accept: &str,
    ) -> Result<Response> {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.base))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.http.get(url).header("accept", accept)).await
    }

    /// Posts to a path, without a body.
    /// # Errors
    /// As [`Self::sql`].
    pub async fn post(&self, path: &str) -> Result<Response> {
        self.send(self.request(Method::POST, path)).await
    }

    /// Posts a JSON document to a path.
    /// # Errors
    /// As [`Self::sql`].
    pub async fn post_json(&self, path: &str, body: &Value) -> Result<Response> {
        let request = self.request(Method::POST, path).header("content-type", media::JSON);
        self.send(request.body(body.to_string())).await
    }

    /// Posts NDJSON readings; answers with status and body whatever the status is.
    /// # Errors
    /// The connection's.
    pub async fn post_readings(&self, body: Bytes) -> Result<Response> {
        self.readings(body).send().await.map_err(|error| self.unreachable(error))
    }

    /// As [`Self::post_readings`], with a number by which the request is known when it is sent again.
    /// # Errors
    /// The connection's.
    pub async fn post_numbered(&self, body: Bytes, number: Number) -> Result<Response> {
        let Number { producer, sequence } = number;
        let request =
            self.readings(body).header("weir-producer", producer).header("weir-sequence", sequence);
        request.send().await.map_err(|error| self.unreachable(error))
    }

    fn readings(&self, body: Bytes) -> reqwest::RequestBuilder {
        self.request(Method::POST, "/v1/readings").header("content-type", media::NDJSON).body(body)
    }

    /// Posts rows of a reference table as CSV.
    /// # Errors
    /// As [`Self::sql`].
    pub async fn post_rows(&self, table: &str, csv: Bytes) -> Result<Response> {
        let mut url = reqwest::Url::parse(&self.base)?;
        let mut path =
            url.path_segments_mut().map_err(|()| anyhow!("{} is no address", self.base))?;
        path.pop_if_empty().extend(["v1", "tables", table, "rows"]);
        drop(path);
        self.send(self.http.post(url).header("content-type", media::CSV).body(csv)).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        Err(anyhow!("{}", said(status, &body)))
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        if error.is_connect() {
            return anyhow!(
                "no server answers at {}; start one with `weir serve`, or name another with --to URL",
                self.base
            );
        }
        anyhow::Error::new(error).context(format!("the connection to {} broke", self.base))
    }
}

/// How long the server asks to wait, where it does.
pub fn retry_after(response: &Response) -> Option<Duration> {
    let asks = matches!(
        response.status(),
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::INSUFFICIENT_STORAGE
    );
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    asks.then(|| Duration::from_secs(seconds))
}

/// The batches of an Arrow IPC stream.
/// # Errors
/// The bytes are none.
pub fn batches(bytes: &[u8]) -> Result<Vec<RecordBatch>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let reader = StreamReader::try_new(bytes, None).context("the answer is no Arrow stream")?;
    let batches: Result<Vec<RecordBatch>, _> = reader.collect();
    batches.context("the answer broke off; ask again")
}

/// The server's sentence, with detail and hint on lines of their own.
pub fn said(status: StatusCode, body: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    let parsed = parsed.as_ref();
    let inner = parsed.and_then(|v| v.get("error")).filter(|v| v.is_object()).or(parsed);
    let field = |name: &str| inner.and_then(|v| v.get(name)).and_then(Value::as_str);
    let sentence = field("message")
        .or_else(|| field("error"))
        .or_else(|| field("reason"))
        .map(str::to_owned)
        .unwrap_or_else(|| {
            let body = body.trim();
            if body.is_empty() { format!("the server answered {status}") } else { body.to_owned() }
        });
    let mut text = sentence.trim_end().to_owned();
    for (name, label) in [("excerpt", ""), ("detail", "  detail: "), ("hint", "  hint: ")] {
        if let Some(more) = field(name).filter(|more| !text.contains(*more)) {
            text.push_str(&format!("\n{label}{more}"));
        }
    }
    text
}

/// Fails unless the response is a success, with the server's sentence.
/// # Errors
/// The server's sentence.
pub async fn expect_success(response: Response) -> Result<Response> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    bail!("{}", said(status, &body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_sentence_keeps_detail_and_hint() {
        let body = r#"{"error":{"message":"no column 'temprature'","hint":"did you mean 'temperature'?"}}"#;
        let text = said(StatusCode::BAD_REQUEST, body);
        assert_eq!(text, "no column 'temprature'\n  hint: did you mean 'temperature'?");
    }

    #[test]
    fn a_body_that_is_no_json_is_shown_as_it_is() {
        assert_eq!(said(StatusCode::BAD_REQUEST, "no such path\n"), "no such path");
        assert_eq!(said(StatusCode::BAD_GATEWAY, ""), "the server answered 502 Bad Gateway");
    }
}
