//! `weir alarms`: lists, follows and explains alarms; acknowledges, shelves, unshelves them.

use crate::cli::To;
use crate::client::Client;
use crate::output::{self, Style};
use crate::series::{quoted, say};
use anyhow::{Context, Result};
use arrow::array::AsArray;
use clap::Subcommand;
use futures::StreamExt;
use serde_json::Value;

/// What `weir alarms` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Go on and print transitions as they happen
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    to: To,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Somebody has seen it
    Ack {
        /// The alarm's id
        id: String,
        /// Who
        #[arg(long, value_name = "NAME")]
        by: String,
        /// What was found
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
    },
    /// Keep it quiet for a while
    Shelve {
        /// The alarm's id
        id: String,
        /// How long, such as 30m or 1h
        #[arg(long = "for", value_name = "DURATION", value_parser = crate::duration::parse)]
        how_long: std::time::Duration,
        /// Who
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Read the rows behind it again and judge them again
    Explain {
        /// The alarm's id
        id: String,
    },
    /// Let it speak again
    Unshelve {
        /// The alarm's id
        id: String,
        /// Who
        #[arg(long, value_name = "NAME")]
        by: String,
    },
}

/// Lists, follows or commands.
/// # Errors
/// The server's sentence.
pub async fn run(arguments: Arguments) -> Result<()> {
    let client = arguments.to.client()?;
    if let Some(action) = &arguments.action {
        if let Action::Explain { id } = action {
            return explain(&client, id).await;
        }
        return say(&client, &statement(action)).await;
    }
    println!("{}", output::table(&client.sql("SELECT * FROM alarms").await?)?);
    if arguments.follow {
        follow(&client, print_transition).await?;
    }
    Ok(())
}

/// A line for each thing that is known of it.
async fn explain(client: &Client, id: &str) -> Result<()> {
    let style = Style::for_stdout();
    for rows in client.sql(&explanation(id)).await? {
        let text = |column: usize| rows.column(column).as_string_opt::<i32>();
        let (Some(what), Some(how)) = (text(0), text(1)) else { continue };
        for (what, how) in what.iter().flatten().zip(how.iter().flatten()) {
            println!("{} {how}", style.bold(&format!("{what:<11}")));
        }
    }
    Ok(())
}

fn explanation(id: &str) -> String {
    format!("EXPLAIN ALARM {}", quoted(id))
}

fn statement(action: &Action) -> String {
    match action {
        Action::Explain { id } => explanation(id),
        Action::Ack { id, by, comment } => {
            let comment =
                comment.as_ref().map(|c| format!(" COMMENT {}", quoted(c))).unwrap_or_default();
            format!("ACKNOWLEDGE ALARM {} BY {}{comment}", quoted(id), quoted(by))
        }
        Action::Shelve { id, how_long, by, reason } => format!(
            "SHELVE ALARM {} FOR INTERVAL '{}' SECOND BY {} REASON {}",
            quoted(id),
            how_long.as_secs().max(1),
            quoted(by),
            quoted(reason)
        ),
        Action::Unshelve { id, by } => {
            format!("UNSHELVE ALARM {} BY {}", quoted(id), quoted(by))
        }
    }
}

/// Reads server-sent alarm events until the server ends them; `each` gets the CloudEvent.
pub(crate) async fn follow(client: &Client, mut each: impl FnMut(&Value)) -> Result<()> {
    let query = [("kind".to_owned(), "alarms".to_owned())];
    let response = client.get("/v1/live", &query, "text/event-stream").await?;
    let mut chunks = response.bytes_stream();
    let mut pending = Vec::new();
    while let Some(chunk) = chunks.next().await {
        pending.extend_from_slice(&chunk.context("the live events broke off; run it again")?);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            if let Some(data) = line.strip_prefix(b"data:")
                && let Ok(event) = serde_json::from_slice::<Value>(data)
            {
                each(&event);
            }
        }
    }
    Ok(())
}

fn print_transition(event: &Value) {
    let style = Style::for_stdout();
    let Some(data) = event.get("data") else {
        let missed = event.get("missed").and_then(Value::as_u64).unwrap_or_default();
        return println!("{}", style.yellow(&format!("{missed} events were missed")));
    };
    let word = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
    let subject = event.get("subject").and_then(Value::as_str).unwrap_or_default();
    let state = format!("{:<12}", word("state"));
    let state = match word("state") {
        "raised" | "member_added" => style.red(&state),
        "cleared" => style.green(&state),
        _ => style.yellow(&state),
    };
    println!("{}  {state}  {:<20}  {subject}", word("time"), word("rule"));
}
