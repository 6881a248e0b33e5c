//! `weir query`: SQL in, a table out, or the format asked for.

use crate::cli::To;
use crate::client::media;
use crate::output;
use anyhow::{Context, Result};
use clap::ValueEnum;
use futures::StreamExt;
use std::io::Write;

/// What `weir query` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The question, such as 'SELECT * FROM latest.climate'
    sql: String,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
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
