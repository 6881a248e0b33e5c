//! `weir query`: SQL in, a table out, or the format asked for.

use crate::cli::To;
use crate::client::media;
use crate::output;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use futures::StreamExt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_engine::tables::latest::LatestTables;
use weir_engine::tables::reference::ReferenceTables;
use weir_queries::catalog::{NoSystem, Sources};
use weir_queries::session::{Parameters, QueryLimits, ReadOnly, Session};

/// What `weir query` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The question, such as 'SELECT * FROM latest.climate'
    sql: String,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Ask a data directory that no server has open, instead of a server
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    data: Option<PathBuf>,
    #[command(flatten)]
    to: To,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line
    Ndjson,
    /// Comma-separated, with a header
    Csv,
    /// Arrow IPC stream
    Arrow,
}

impl Format {
    fn media(self) -> &'static str {
        match self {
            Self::Table | Self::Arrow => media::ARROW,
            Self::Json => media::JSON,
            Self::Ndjson => media::NDJSON,
            Self::Csv => media::CSV,
        }
    }
}

/// Asks and prints.
/// # Errors
/// The server's sentence.
pub async fn run(arguments: Arguments) -> Result<()> {
    if let Some(directory) = &arguments.data {
        return offline(directory, &arguments).await;
    }
    let client = arguments.to.client()?;
    if arguments.format == Format::Table {
        println!("{}", output::table(&client.sql(&arguments.sql).await?)?);
        return Ok(());
    }
    let response = client.sql_as(&arguments.sql, arguments.format.media()).await?;
    let mut chunks = response.bytes_stream();
    let mut out = std::io::stdout().lock();
    let mut last = b'\n';
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.context("the answer broke off; ask again")?;
        last = chunk.last().copied().unwrap_or(last);
        out.write_all(&chunk)?;
    }
    if last != b'\n' && arguments.format != Format::Arrow {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Asks a directory; only as a table, which is for people.
async fn offline(directory: &Path, arguments: &Arguments) -> Result<()> {
    if arguments.format != Format::Table {
        bail!("--data answers as a table only, not yet in other formats; leave --format out");
    }
    let log = crate::log::open(directory)?;
    let sources = Sources {
        log: Arc::clone(&log),
        latest: Arc::new(LatestTables::new(Arc::clone(&log))),
        references: Arc::new(ReferenceTables::open(Arc::clone(&log))?),
        system: Arc::new(NoSystem),
    };
    let limits = QueryLimits::default();
    let rows_max = limits.rows_max;
    let session = Session::new(sources, Arc::new(ReadOnly), limits)?;
    let answer = session.query(&arguments.sql, &Parameters::none()).await?;
    println!("{}", output::table(&answer.collect(rows_max).await?)?);
    tokio::task::spawn_blocking(move || log.stop()).await.context("the log did not close")
}
