//! `weir series`: takes a sensor out of service, and returns it.

use crate::cli::To;
use crate::client::Client;
use crate::output;
use anyhow::Result;
use clap::Subcommand;

/// What `weir series` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    to: To,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Out of service: it raises nothing until it is returned
    Out {
        /// The sensor's topic path
        topic: String,
        /// Who says so
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Back in service
    In {
        /// The sensor's topic path
        topic: String,
        /// Who says so
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// Says so to the server.
/// # Errors
/// The server's sentence.
pub async fn run(arguments: Arguments) -> Result<()> {
    let client = arguments.to.client()?;
    let statement = match &arguments.action {
        Action::Out { topic, by, reason } => format!(
            "TAKE SERIES {} OUT OF SERVICE BY {} REASON {}",
            quoted(topic),
            quoted(by),
            quoted(reason)
        ),
        Action::In { topic, by, .. } => {
            format!("RETURN SERIES {} TO SERVICE BY {}", quoted(topic), quoted(by))
        }
    };
    say(&client, &statement).await
}

/// A SQL text literal.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Runs a statement and prints its answer, or `ok`.
pub(crate) async fn say(client: &Client, statement: &str) -> Result<()> {
    let batches = client.sql(statement).await?;
    match output::messages(&batches) {
        Some(messages) => messages.iter().for_each(|message| println!("{message}")),
        None => println!("{}", output::table(&batches)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_quote_in_a_name_is_doubled() {
        assert_eq!(super::quoted("O'Hara"), "'O''Hara'");
    }
}
