//! `weir run`: statements from files, one after another; stops at the first that is refused.

use crate::cli::To;
use crate::output::{self, Style};
use crate::statements;
use anyhow::{Context, Result, anyhow, bail};
use arrow::array::RecordBatch;
use std::io::Read;
use std::path::PathBuf;

/// What `weir run` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files of SQL statements, each ended by ';' ('-' reads standard input)
    #[arg(required = true, value_name = "FILE.sql")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    to: To,
}

/// Runs the files in order.
/// # Errors
/// The first statement refused, with its file and line.
pub async fn run(arguments: Arguments) -> Result<()> {
    let client = arguments.to.client()?;
    let style = Style::for_stdout();
    for file in &arguments.files {
        let text = read(file)?;
        let parts = statements::split(&text);
        if parts.is_empty() {
            bail!("{} has no statement", file.display());
        }
        for part in parts {
            let batches = client
                .sql(part.text)
                .await
                .map_err(|error| anyhow!("{}, line {}: {error:#}", file.display(), part.line))?;
            println!("{}", shown(part.text, &batches, style)?);
        }
    }
    Ok(())
}

fn read(file: &PathBuf) -> Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input is no text")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn first_line(statement: &str) -> String {
    let line = statement.lines().next().unwrap_or_default().trim_end();
    let line = line.trim_end_matches(['(', ' ']);
    match line.chars().count() {
        0..=90 => line.to_owned(),
        _ => format!("{}…", line.chars().take(89).collect::<String>()),
    }
}

/// What a statement answered: its sentences, or its rows as a table.
fn shown(statement: &str, batches: &[RecordBatch], style: Style) -> Result<String> {
    if let Some(messages) = output::messages(batches) {
        let ok = style.green("ok");
        let lines: Vec<String> = messages.iter().map(|text| format!("{ok} {text}")).collect();
        return Ok(lines.join("\n"));
    }
    let rows = output::table(batches)?;
    Ok(format!("{} {}\n{rows}", style.green("ok"), first_line(statement)))
}
