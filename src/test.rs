//! `weir test`: what a rule would have raised over the readings there are, before it is armed.
//!
//! Promise: nothing is created; a file's streams and tables are not, either: a test reads those there
//! are.

use crate::cli::To;
use crate::client::Client;
use crate::output::{self, Style, thousands};
use crate::{duration, log};
use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, UInt64Type};
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_engine::runtime::backtest;
use weir_engine::sql::{Statement, TestOver, TestStatement, TestedRule, parse_script};
use weir_engine::tables::reference::ReferenceTables;

/// What `weir test` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A file with CREATE RULE statements, or the name of a rule that runs
    #[arg(value_name = "FILE.sql|RULE")]
    rule: String,
    /// How far back, such as 7d or '12 hours'; without it, everything the log has
    #[arg(long, value_name = "DURATION", value_parser = how_long)]
    over: Option<Duration>,
    /// Test over a data directory that no server has open, instead of a server
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    data: Option<PathBuf>,
    #[command(flatten)]
    to: To,
}

fn how_long(text: &str) -> Result<Duration, String> {
    let parsed = duration::parse(text).or_else(|_| weir_engine::sql::parse_duration(text))?;
    if parsed.is_zero() {
        Err("a test needs a time longer than nothing".to_owned())
    } else {
        Ok(parsed)
    }
}

/// Tests each rule and prints a table and a sentence for it.
/// # Errors
/// A file cannot be read or has no rule, or a rule is refused.
pub async fn run(arguments: Arguments) -> Result<()> {
    let tested = tested(&arguments.rule)?;
    let over = arguments.over.map(TestOver::Last);
    match &arguments.data {
        Some(directory) => offline(directory, tested, over),
        None => ask(&arguments.to.client()?, tested, over).await,
    }
}

/// The rules that are meant, each with its name and, from a file, its text.
fn tested(what: &str) -> Result<Vec<(String, Option<String>)>> {
    let file = Path::new(what);
    if file.extension().is_none_or(|extension| extension != "sql") {
        return Ok(vec![(what.to_owned(), None)]);
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {what}"))?;
    let statements = parse_script(&text).map_err(|error| anyhow!("{what}: {error}"))?;
    let rules = statements.into_iter().filter_map(|(statement, text)| match statement {
        Statement::CreateRule(rule) => Some((rule.name, Some(text))),
        _ => None,
    });
    let rules: Vec<_> = rules.collect();
    if rules.is_empty() {
        bail!(
            "{what} has no CREATE RULE; write the rule to be tested into it, or name one that runs"
        );
    }
    Ok(rules)
}

async fn ask(
    client: &Client,
    tested: Vec<(String, Option<String>)>,
    over: Option<TestOver>,
) -> Result<()> {
    for (name, text) in tested {
        let rule = match text {
            Some(text) => format!("({text}\n)"),
            None => format!("\"{}\"", name.replace('"', "\"\"")),
        };
        let over = match over {
            Some(TestOver::Last(last)) => {
                format!(" OVER INTERVAL '{} ms'", last.as_millis().max(1))
            }
            Some(TestOver::Between { .. }) | None => String::new(),
        };
        show(&name, &client.sql(&format!("TEST RULE {rule}{over}")).await?)?;
    }
    Ok(())
}

fn offline(
    directory: &Path,
    tested: Vec<(String, Option<String>)>,
    over: Option<TestOver>,
) -> Result<()> {
    let log = log::open(directory)?;
    let references = ReferenceTables::open(std::sync::Arc::clone(&log))?;
    let each = tested.into_iter().try_for_each(|(name, text)| {
        let rule = match text {
            Some(text) => match parse_script(&text).map_err(|e| anyhow!("{e}"))?.pop() {
                Some((Statement::CreateRule(rule), _)) => TestedRule::Written(Box::new(rule)),
                _ => bail!("'{name}' is no CREATE RULE"),
            },
            None => TestedRule::Named(name.clone()),
        };
        let report = backtest::test(&log, &references, TestStatement { rule, over }, &|| None);
        show(&name, &[report.map_err(|error| anyhow!("{error}"))?.table()])
    });
    log.stop();
    each
}

fn show(rule: &str, rows: &[RecordBatch]) -> Result<()> {
    let shown: Vec<RecordBatch> = rows.iter().map(without_empty_columns).collect::<Result<_>>()?;
    println!("{}", output::table(&shown)?);
    println!("{}", Style::for_stdout().bold(&sentence(rule, rows)?));
    Ok(())
}

/// Columns that say nothing of this rule are left out.
fn without_empty_columns(rows: &RecordBatch) -> Result<RecordBatch> {
    let filled: Vec<usize> = (0..rows.num_columns())
        .filter(|column| rows.column(*column).null_count() < rows.num_rows())
        .collect();
    Ok(rows.project(&filled)?)
}

/// What the last row, the total, comes to.
fn sentence(rule: &str, rows: &[RecordBatch]) -> Result<String> {
    let total = rows.iter().rev().find(|batch| batch.num_rows() > 0).context("no answer came")?;
    let last = total.num_rows() - 1;
    let keys = rows.iter().map(RecordBatch::num_rows).sum::<usize>() - 1;
    let column =
        |name: &str| total.column_by_name(name).context("the server is of another version");
    let count = |name: &str| -> Result<Option<u64>> {
        let column = column(name)?.as_primitive_opt::<UInt64Type>();
        Ok(column.filter(|column| column.is_valid(last)).map(|column| column.value(last)))
    };
    let seconds = |name: &str| -> Result<String> {
        let column = column(name)?.as_primitive_opt::<Float64Type>();
        let seconds = column.filter(|c| c.is_valid(last)).map_or(0.0, |column| column.value(last));
        Ok(duration::show(Duration::from_secs_f64(seconds.max(0.0))))
    };
    let readings = thousands(count("readings")?.unwrap_or_default());
    let many = |count: u64, one: &str, more: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{} {more}", thousands(count)),
    };
    let mut said = match (count("raised")?, count("rows")?) {
        (Some(0), _) => format!("{rule} would have raised nothing over {readings} readings"),
        (Some(raised), _) => format!(
            "{rule} would have raised {} over {readings} readings ({}), active for {} in all, {} at the longest",
            many(raised, "alarm", "alarms"),
            many(keys as u64, "key", "keys"),
            seconds("active_seconds")?,
            seconds("longest_seconds")?,
        ),
        (None, rows) => {
            let rows = many(rows.unwrap_or_default(), "row", "rows");
            format!("{rule} would have given {rows} over {readings} readings")
        }
    };
    let more = [
        ("still_active", " still active", " still active"),
        ("unknown", " verdict unknown", " verdicts unknown"),
        ("no_data", " silence", " silences"),
        ("late", " reading late", " readings late"),
        ("errors", " row failed", " rows failed"),
    ];
    for (name, one, others) in more {
        if let Some(count) = count(name)?.filter(|count| *count > 0) {
            said.push_str(&format!("; {}", many(count, one.trim(), others.trim())));
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_written_short_or_in_words() {
        for text in ["7d", "7 days", "'1 week'".trim_matches('\'')] {
            assert_eq!(how_long(text), Ok(Duration::from_secs(7 * 86_400)), "{text}");
        }
        assert!(how_long("0s").is_err() && how_long("a while").is_err());
    }

    #[test]
    fn a_name_is_a_rule_that_runs_and_a_file_has_its_rules() {
        assert_eq!(tested("hot").expect("a name"), [("hot".to_owned(), None)]);
        assert!(
            format!("{:#}", tested("nowhere.sql").expect_err("no file")).contains("cannot read")
        );
    }
}
