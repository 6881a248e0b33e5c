//! `weir replay`: rules over a file of readings, or over a data directory again; no server.
//!
//! Promise: exactly the operators that the server runs, on a simulated clock; NDJSON comes out.

use anyhow::{Context, Result, anyhow};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use weir_engine::runtime::replay::{AtEnd, ReplayOptions, replay_data, replay_file};

/// What `weir replay` takes.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["define", "data"])))]
pub struct Arguments {
    /// Streams, tables and rules
    #[arg(long, value_name = "FILE.sql", requires = "input")]
    define: Option<PathBuf>,
    /// Readings, one JSON object a line, in the order of their arrival ('-' reads standard input)
    #[arg(long, value_name = "FILE.ndjson", requires = "define")]
    input: Option<PathBuf>,
    /// Take the arrival time from this field; without it the clock is the largest event time so far
    #[arg(long, value_name = "FIELD", requires = "define")]
    arrival: Option<String>,
    /// Partitions of every stream
    #[arg(long, value_name = "N", requires = "define", value_parser = clap::value_parser!(u32).range(1..=1024))]
    partitions: Option<u32>,
    /// Readings the operators get at once; the output does not depend on it
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: u32,
    /// Forget everything in memory and recover after every N readings
    #[arg(long, value_name = "N", requires = "define", value_parser = clap::value_parser!(u32).range(1..))]
    restart_every: Option<u32>,
    /// Close the windows that are open at the end, as FLUSH STREAM does
    #[arg(long, requires = "define")]
    flush: bool,
    /// The rules of this data directory over its own log: the reference for recovery
    #[arg(long, value_name = "DIR", conflicts_with = "define")]
    data: Option<PathBuf>,
    /// Only this rule
    #[arg(long, value_name = "NAME", requires = "data")]
    rule: Option<String>,
    /// Where the output goes
    #[arg(long, value_name = "FILE|-", default_value = "-")]
    output: PathBuf,
}

/// Replays.
/// # Errors
/// A file cannot be used, or a statement or rule is refused.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut out = output(&arguments.output)?;
    match (&arguments.data, &arguments.define, &arguments.input) {
        (Some(directory), _, _) => {
            let log = crate::log::open(directory)?;
            let rule = arguments.rule.as_deref();
            let replayed = replay_data(&log, rule, &mut out);
            log.stop();
            replayed.map_err(|error| anyhow!("{error}"))?;
        }
        (None, Some(define), Some(input)) => {
            let text = std::fs::read_to_string(define)
                .with_context(|| format!("cannot read {}", define.display()))?;
            replay_file(&text, readings(input)?, &options(arguments), &mut out)
                .map_err(|error| anyhow!("{}: {error}", define.display()))?;
        }
        _ => anyhow::bail!("write --define FILE.sql --input FILE.ndjson, or --data DIR"),
    }
    out.flush().context("the output cannot be written")
}

fn options(arguments: &Arguments) -> ReplayOptions {
    ReplayOptions {
        arrival: arguments.arrival.clone(),
        partitions: arguments.partitions,
        batch: arguments.batch as usize,
        restart_every: arguments.restart_every.map(|every| every as usize),
        at_end: if arguments.flush { AtEnd::Flush } else { AtEnd::Open },
    }
}

#[allow(clippy::disallowed_methods, reason = "the user's file, not the log")]
fn readings(file: &Path) -> Result<Box<dyn Read + Send>> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened =
        std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    Ok(Box::new(opened))
}

#[allow(clippy::disallowed_methods, reason = "the user's file, not the log")]
fn output(file: &Path) -> Result<Box<dyn Write>> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(BufWriter::new(std::io::stdout())));
    }
    let created =
        std::fs::File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Box::new(BufWriter::new(created)))
}
