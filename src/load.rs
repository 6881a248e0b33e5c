//! `weir load`: a CSV file into a reference table, all of it or nothing.

use crate::cli::To;
use crate::output::Style;
use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use serde::Deserialize;
use std::io::Read;
use std::path::{Path, PathBuf};
use weir_engine::tables::reference::INSERT_BYTES_MAX;

const EXAMPLE: &str = "\
The first line names the columns; those it leaves out are NULL, and so is an empty field. Rows with
the primary key of one that is there replace it. One row that is refused refuses the file.

Examples:
  weir load opening_hours hours.csv
  weir load limits - --to http://127.0.0.1:9000 < limits.csv";

/// What `weir load` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Arguments {
    /// The table, made by CREATE TABLE
    table: String,
    /// The rows, with a header line ('-' reads standard input)
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    #[command(flatten)]
    to: To,
}

#[derive(Debug, Deserialize)]
struct Answer {
    table: String,
    rows: u64,
}

/// Sends the file.
/// # Errors
/// The server's sentence, with the line of the row it refused.
pub async fn run(arguments: Arguments) -> Result<()> {
    let client = arguments.to.client()?;
    let body = read(&arguments.file)?;
    let loaded = client.post_rows(&arguments.table, body).await;
    let answer = loaded.map_err(|error| anyhow!("{}: {error:#}", arguments.file.display()))?;
    let text = answer.text().await.context("the server's answer broke off")?;
    let Answer { table, rows } = serde_json::from_str(&text)
        .with_context(|| format!("the server's answer is not one: {text}"))?;
    let ok = Style::for_stdout().green("ok");
    println!("{ok} {rows} {} into '{table}'", if rows == 1 { "row" } else { "rows" });
    Ok(())
}

/// The file's bytes, of which the server takes so many at once.
fn read(file: &Path) -> Result<Bytes> {
    let bytes = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let most = INSERT_BYTES_MAX as u64 + 1;
        std::io::stdin()
            .take(most)
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        bytes
    } else {
        #[allow(clippy::disallowed_methods, reason = "the user's file, not the log")]
        std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?
    };
    if bytes.len() > INSERT_BYTES_MAX {
        bail!(
            "{} has more than the {INSERT_BYTES_MAX} bytes one load may have; \
             split it, each part with the header line",
            file.display()
        );
    }
    Ok(Bytes::from(bytes))
}
