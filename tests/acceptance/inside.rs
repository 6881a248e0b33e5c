//! A server in this process, on the clock and the disk of a test, asked over real sockets.

use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;
use weir::client::{Client, media};
use weir::config::Config;
use weir::server::Server;
use weir_ingest::io::{Clock, Disk};
use weir_ingest::log::Log;

/// The server from one start to one stop.
pub(crate) struct Inside {
    client: Client,
    server: Server,
    // Last: what still runs of the server ends with it, and the directory is free again.
    runtime: Runtime,
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Whether it says when to come back.
    pub(crate) again: bool,
    pub(crate) body: Value,
}

/// The defaults, over `data`, on a free port.
pub(crate) fn over(data: &Path) -> Config {
    Config { data: data.to_owned(), http: ([127, 0, 0, 1], 0).into(), ..Config::default() }
}

impl Inside {
    pub(crate) fn start(config: Config, clock: Arc<dyn Clock>, disk: Arc<dyn Disk>) -> Self {
        weir::cli::install_crypto();
        let runtime = Runtime::new().expect("a runtime");
        let started = Server::start_on(config, clock, disk);
        let server = runtime.block_on(started).expect("the server starts");
        let client = Client::new(&format!("http://{}", server.address())).expect("an address");
        Self { client, server, runtime }
    }

    pub(crate) fn stop(self) {
        self.runtime.block_on(self.server.stop()).expect("a clean stop");
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.client.base()
    }

    pub(crate) fn log(&self) -> &Arc<Log> {
        self.server.log()
    }

    /// The rows that a statement answers with.
    pub(crate) fn query(&self, sql: &str) -> Vec<Value> {
        let text = self.runtime.block_on(async {
            self.client.sql_as(sql, media::NDJSON).await.expect(sql).text().await.expect("a text")
        });
        text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
    }

    /// Posts readings.
    pub(crate) fn post(&self, lines: String) -> Answer {
        self.runtime.block_on(post(&self.client, lines))
    }
}

/// Posts readings.
pub(crate) async fn post(client: &Client, lines: String) -> Answer {
    let answer = client.post_readings(lines.into()).await.expect("an answer");
    let (status, again) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
    let body = answer.text().await.expect("a text");
    Answer { status, again, body: serde_json::from_str(&body).expect("JSON") }
}
