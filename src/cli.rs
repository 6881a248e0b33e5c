//! The command line: what can be written, what it means, and how it ends.

use crate::{
    alarms, ask, backup, client, deliveries, demo, load, log, publish, query, replay, run, series,
    serve, test,
};
use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::log::{CatalogError, OpenError};

/// How long threads that are still at work at the end are waited for.
const THREADS_END_WITHIN: Duration = Duration::from_secs(10);

const AFTER_HELP: &str = "\
Begin with:
  weir demo                      a simulated building, its alarms and answers, in a minute
  weir serve                     a server of your own, on 127.0.0.1:8520

Exit codes:
  0  done
  1  failed: the sentence on standard error says what to do
  2  the command line was not understood
  3  done, but some readings were refused
  4  the disk failed below the server's catalog: look after it, then start again";

/// Takes in telemetry, keeps it in a durable log, runs SQL rules over it, raises alarms, answers.
#[derive(Debug, Parser)]
#[command(name = "weir", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Where the server is.
#[derive(Debug, Clone, clap::Args)]
pub struct To {
    /// The server's address
    #[arg(long = "to", value_name = "URL", env = "WEIR_URL", default_value = client::DEFAULT_ADDRESS)]
    url: String,
}

impl To {
    /// A client for it.
    /// # Errors
    /// The address is none.
    pub fn client(&self) -> Result<client::Client> {
        client::Client::new(&self.url)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A simulated building: incidents, alarms as they happen, then questions and their answers
    Demo(demo::Arguments),
    /// Run a server
    Serve(serve::Arguments),
    /// Run statements from files: streams, rules, subscriptions, tables
    Run(run::Arguments),
    /// Send readings, one JSON object a line
    Publish(publish::Arguments),
    /// Put the rows of a CSV file into a reference table
    Load(load::Arguments),
    /// Ask in SQL
    Query(query::Arguments),
    /// Ask one of the named questions; without a name, list them
    Ask(ask::Arguments),
    /// Show and explain alarms; acknowledge, shelve, unshelve them
    Alarms(alarms::Arguments),
    /// Run rules over a file of readings, or over a data directory again, without a server
    Replay(replay::Arguments),
    /// Show what a rule would have raised, before it is armed
    Test(test::Arguments),
    /// Take a sensor out of service, or return it
    Series(series::Arguments),
    /// Show what was delivered; send a dead letter again
    Deliveries(deliveries::Arguments),
    /// Look into a data directory
    Log(log::Arguments),
    /// Copy a data directory, while its server runs or not, so that a server starts from the copy
    Backup(backup::Arguments),
}

/// Runs what the command line asks for.
/// # Errors
/// One sentence and what to do next; [`exit_code`] turns it into a code.
pub fn run(arguments: Arguments) -> Result<()> {
    install_crypto();
    match arguments.command {
        Command::Demo(arguments) => wait(demo::run(arguments)),
        Command::Serve(arguments) => wait(serve::run(arguments)),
        Command::Run(arguments) => wait(run::run(arguments)),
        Command::Publish(arguments) => wait(publish::run(arguments)),
        Command::Load(arguments) => wait(load::run(arguments)),
        Command::Query(arguments) => wait(query::run(arguments)),
        Command::Ask(arguments) => wait(ask::run(arguments)),
        Command::Alarms(arguments) => wait(alarms::run(arguments)),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Test(arguments) => wait(test::run(arguments)),
        Command::Series(arguments) => wait(series::run(arguments)),
        Command::Deliveries(arguments) => wait(deliveries::run(arguments)),
        Command::Log(arguments) => wait(log::run(arguments)),
        Command::Backup(arguments) => wait(backup::run(arguments)),
    }
}

/// Some rows were refused and have been listed: done, with code 3 and nothing more to say.
#[derive(Debug)]
pub struct SomeRefused;

impl std::fmt::Display for SomeRefused {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

impl std::error::Error for SomeRefused {}

/// The disk failed below the catalog while the server ran.
#[derive(Debug)]
pub struct CatalogFailed(pub Arc<str>);

impl std::fmt::Display for CatalogFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the disk failed below the catalog ({}); look after the disk, then start the server again: it recovers what was confirmed",
            self.0
        )
    }
}

impl std::error::Error for CatalogFailed {}

/// The code for an error.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<SomeRefused>() {
        3
    } else if error.is::<CatalogFailed>() || error.chain().any(is_failed_catalog) {
        4
    } else {
        1
    }
}

/// Whether the disk failed below the catalog before anybody watched it: when it was opened.
fn is_failed_catalog(cause: &(dyn std::error::Error + 'static)) -> bool {
    let of_open = match cause.downcast_ref::<OpenError>() {
        Some(OpenError::Catalog(error)) => Some(error),
        _ => None,
    };
    matches!(of_open.or_else(|| cause.downcast_ref()), Some(CatalogError::Failed(_)))
}

/// One crypto provider for the process: ring. Installing it twice is fine.
pub fn install_crypto() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a crypto provider is already there");
    }
}

fn wait(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no threads to run on")?;
    let done = runtime.block_on(work);
    // A call to a disk that failed may never return.
    runtime.shutdown_timeout(THREADS_END_WITHIN);
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn a_catalog_that_failed_has_its_code_also_when_it_is_opened() {
        let opened = |error: CatalogError| {
            let directory = "the data directory cannot be opened";
            anyhow::Error::new(OpenError::Catalog(error)).context(directory)
        };
        let failed = || CatalogError::Failed("input/output error".into());
        assert_eq!(code(&opened(failed())), 4);
        assert_eq!(code(&anyhow::Error::new(failed())), 4);
        assert_eq!(code(&CatalogFailed("input/output error".into()).into()), 4);
        assert_eq!(code(&opened(CatalogError::Full)), 1);
        assert_eq!(code(&OpenError::Locked { directory: PathBuf::from("data") }.into()), 1);
        assert_eq!(code(&SomeRefused.into()), 3);
    }
}
