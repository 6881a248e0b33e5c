//! `weir deliveries`: what was delivered, and sending a dead letter again.

use crate::cli::To;
use crate::output;
use crate::series::{quoted, say};
use anyhow::Result;
use clap::Subcommand;

/// What `weir deliveries` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// How many of the newest
    #[arg(long, default_value_t = 20, value_name = "N")]
    last: u32,
    #[command(flatten)]
    to: To,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Send an event again, under the same id
    Redeliver {
        /// The event's id, as in the table of deliveries
        id: String,
    },
}

/// Lists, or sends again.
/// # Errors
/// The server's sentence.
pub async fn run(arguments: Arguments) -> Result<()> {
    let client = arguments.to.client()?;
    match &arguments.action {
        Some(Action::Redeliver { id }) => say(&client, &format!("REDELIVER {}", quoted(id))).await,
        None => {
            let sql =
                format!("SELECT * FROM deliveries ORDER BY time DESC LIMIT {}", arguments.last);
            println!("{}", output::table(&client.sql(&sql).await?)?);
            Ok(())
        }
    }
}
