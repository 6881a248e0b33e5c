//! `weir publish`: readings from a file, one JSON object a line, over one connection.
//!
//! Promise: a line counts as accepted only after the server confirmed it durable; each refused line
//! is named. A request that is sent again has the number it had, so that its rows are stored once. Where a
//! connection breaks, the last word says how many lines are certain.

use crate::cli::{SomeRefused, To};
use crate::client::{Client, Number, retry_after, said};
use crate::duration;
use crate::output::{Style, thousands};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::Duration;

const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
const REFUSED_SHOWN_MAX: usize = 10;
const RETRIES_MAX: u32 = 60;

/// What `weir publish` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// One JSON reading a line ('-' reads standard input)
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// Readings a request
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    #[command(flatten)]
    to: To,
}

/// Lines of the file, and where they stand in it.
#[derive(Debug, Default)]
struct Batch {
    body: Vec<u8>,
    /// Line in the file, from 1, of each row sent.
    lines: Vec<u64>,
}

/// What the server says about a request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    accepted: u64,
    duplicates: u64,
    /// The first of them.
    refused: Vec<RefusedRow>,
    refused_total: u64,
    /// Rows that a partition did not confirm, by position; only where some did not.
    unconfirmed: Option<Vec<usize>>,
}

#[derive(Debug, Deserialize)]
struct RefusedRow {
    index: usize,
    #[serde(default)]
    reason: String,
}

/// What became of all lines.
#[derive(Debug, Default)]
struct Summary {
    accepted: u64,
    duplicates: u64,
    refused: u64,
    shown: Vec<(u64, String)>,
    waits: u64,
}

/// Sends the file.
/// # Errors
/// The connection broke, the server refused a whole request, or [`SomeRefused`].
pub async fn run(arguments: Arguments) -> Result<()> {
    let client = arguments.to.client()?;
    let (mut lines, bytes) = open(&arguments.file)?;
    let progress = bar(bytes);
    let started = tokio::time::Instant::now();
    let mut summary = Summary::default();
    let (mut line_number, mut number) = (0, Number::first());
    loop {
        let batch = next_batch(&mut lines, &mut line_number, arguments.batch as usize)
            .with_context(|| format!("cannot read {}", arguments.file.display()))?;
        if batch.lines.is_empty() {
            break;
        }
        let (sent, rows) = (batch.body.len() as u64, batch.lines.len());
        send(&client, batch, number, &mut summary).await.inspect_err(|_| {
            progress.finish_and_clear();
            eprintln!("{}", certain(&summary));
        })?;
        number = number.after(rows);
        progress.inc(sent);
    }
    progress.finish_and_clear();
    report(&summary, started.elapsed());
    if summary.refused > 0 {
        return Err(SomeRefused.into());
    }
    Ok(())
}

fn open(file: &PathBuf) -> Result<(Box<dyn BufRead>, Option<u64>)> {
    if file.as_os_str() == "-" {
        return Ok((Box::new(BufReader::new(std::io::stdin())), None));
    }
    #[allow(clippy::disallowed_methods, reason = "the user's file, not the log")]
    let opened =
        std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    if file.extension().is_some_and(|extension| extension == "gz") {
        bail!("{0} is compressed; send it with: gzip -dc {0} | weir publish -", file.display());
    }
    let bytes = opened.metadata().ok().map(|meta| meta.len());
    Ok((Box::new(BufReader::with_capacity(1 << 20, opened)), bytes))
}

/// On standard error and only on a terminal: indicatif hides itself elsewhere.
fn bar(bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes {
        Some(bytes) => {
            (ProgressBar::new(bytes), "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} sent, {bytes_per_sec}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn next_batch(lines: &mut dyn BufRead, number: &mut u64, rows: usize) -> std::io::Result<Batch> {
    let mut batch = Batch::default();
    while batch.lines.len() < rows && batch.body.len() < BATCH_BYTES_MAX {
        let start = batch.body.len();
        if lines.read_until(b'\n', &mut batch.body)? == 0 {
            break;
        }
        *number += 1;
        if batch.body[start..].iter().all(u8::is_ascii_whitespace) {
            batch.body.truncate(start);
            continue;
        }
        if !batch.body.ends_with(b"\n") {
            batch.body.push(b'\n');
        }
        batch.lines.push(*number);
    }
    Ok(batch)
}

/// Sends until every row is confirmed or refused; what a partition did not confirm is sent again, which are
/// all rows it had of this number.
async fn send(
    client: &Client,
    mut batch: Batch,
    number: Number,
    summary: &mut Summary,
) -> Result<()> {
    let mut asked_to_wait = 0;
    while !batch.lines.is_empty() {
        let body = Bytes::from(std::mem::take(&mut batch.body));
        let response = client.post_numbered(body.clone(), number).await?;
        let (status, wait) = (response.status(), retry_after(&response));
        let text = response.text().await.context("the server's answer broke off")?;
        let answer: Option<Answer> = serde_json::from_str(&text).ok();
        match (answer, wait) {
            (Some(mut answer), Some(wait)) if answer.unconfirmed.is_some() => {
                let again = answer.unconfirmed.take().unwrap_or_default();
                add(summary, &batch.lines, answer);
                batch = batch.only(&body, &again);
                pause(summary, &mut asked_to_wait, wait, &batch.lines).await?;
            }
            (_, Some(wait)) => {
                batch.body = body.into();
                pause(summary, &mut asked_to_wait, wait, &batch.lines).await?;
            }
            (Some(answer), None)
                if answer.unconfirmed.is_none()
                    && (status.is_success() || answer.refused_total > 0) =>
            {
                add(summary, &batch.lines, answer);
                return Ok(());
            }
            _ => bail!("lines {}: {}", range(&batch.lines), said(status, &text)),
        }
    }
    Ok(())
}

/// Waits as asked, but not for ever.
async fn pause(
    summary: &mut Summary,
    asked: &mut u32,
    wait: Duration,
    lines: &[u64],
) -> Result<()> {
    *asked += 1;
    summary.waits += 1;
    if *asked > RETRIES_MAX {
        bail!(
            "the server asked to wait {RETRIES_MAX} times for lines {}; send them again later",
            range(lines)
        );
    }
    tokio::time::sleep(wait.max(Duration::from_millis(50))).await;
    Ok(())
}

impl Batch {
    /// The rows at these positions of `body`, which was this batch's.
    fn only(&self, body: &[u8], positions: &[usize]) -> Self {
        let rows: Vec<&[u8]> = body.split_inclusive(|byte| *byte == b'\n').collect();
        let mut kept = Self::default();
        for position in positions {
            if let (Some(row), Some(line)) = (rows.get(*position), self.lines.get(*position)) {
                kept.body.extend_from_slice(row);
                kept.lines.push(*line);
            }
        }
        kept
    }
}

fn add(summary: &mut Summary, lines: &[u64], answer: Answer) {
    summary.accepted += answer.accepted;
    summary.duplicates += answer.duplicates;
    summary.refused += answer.refused_total.max(answer.refused.len() as u64);
    for row in answer.refused {
        if summary.shown.len() < REFUSED_SHOWN_MAX {
            let line = lines.get(row.index).copied().unwrap_or_default();
            summary.shown.push((line, row.reason));
        }
    }
}

fn range(lines: &[u64]) -> String {
    let first = lines.first().copied().unwrap_or_default();
    format!("{first} to {}", lines.last().copied().unwrap_or_default())
}

/// What is known when the connection breaks.
fn certain(summary: &Summary) -> String {
    format!(
        "before this, {} readings were confirmed; those of the request that broke may or may not be stored",
        thousands(summary.accepted + summary.duplicates)
    )
}

fn report(summary: &Summary, took: Duration) {
    let style = Style::for_stdout();
    let total = summary.accepted + summary.duplicates + summary.refused;
    let rate = total as f64 / took.as_secs_f64().max(0.001);
    let refused = format!("{} refused", thousands(summary.refused));
    println!(
        "{} readings in {}: {}, {} duplicates, {} ({}/s)",
        thousands(total),
        duration::show(took),
        style.green(&format!("{} accepted", thousands(summary.accepted))),
        thousands(summary.duplicates),
        if summary.refused > 0 { style.red(&refused) } else { refused },
        thousands(rate as u64),
    );
    if summary.waits > 0 {
        println!("the server asked to wait {} times", thousands(summary.waits));
    }
    for (line, reason) in &summary.shown {
        println!("  line {line}: {reason}");
    }
    let more = summary.refused.saturating_sub(summary.shown.len() as u64);
    if more > 0 {
        println!(
            "  and {} more; all of them: weir query 'SELECT * FROM dead_letters'",
            thousands(more)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn batches_keep_the_line_numbers_of_the_file() {
        let mut file: &[u8] = b"{\"a\":1}\n\n  \n{\"a\":2}\n{\"a\":3}";
        let mut number = 0;
        let first = next_batch(&mut file, &mut number, 2).expect("memory");
        assert_eq!(
            (first.lines, first.body.as_slice()),
            (vec![1, 4], &b"{\"a\":1}\n{\"a\":2}\n"[..])
        );
        let second = next_batch(&mut file, &mut number, 2).expect("memory");
        assert_eq!((second.lines, second.body.as_slice()), (vec![5], &b"{\"a\":3}\n"[..]));
        assert!(next_batch(&mut file, &mut number, 2).expect("memory").lines.is_empty());
    }

    #[test]
    fn rows_that_were_not_confirmed_are_sent_again_alone() {
        let batch = Batch { body: Vec::new(), lines: vec![3, 5, 8] };
        let again = batch.only(b"a\nb\nc\n", &[0, 2]);
        assert_eq!((again.body.as_slice(), again.lines), (&b"a\nc\n"[..], vec![3, 8]));
    }

    /// Answers one request with each of `answers`, on connections of their own; what was sent.
    fn answering(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let serve = move |answer: &str| {
            let (mut stream, _) = listener.accept().expect("a connection");
            let (mut sent, mut bytes) = (String::new(), [0; 4096]);
            let whole = |sent: &str| {
                let (_, body) = sent.split_once("\r\n\r\n")?;
                Some(body.len() >= header(sent, "content-length").parse().expect("a number"))
            };
            while whole(&sent) != Some(true) {
                let read = stream.read(&mut bytes).expect("a request");
                sent.push_str(std::str::from_utf8(&bytes[..read]).expect("text"));
            }
            stream.write_all(answer.as_bytes()).expect("answered");
            sent
        };
        let served = std::thread::spawn(move || answers.into_iter().map(serve).collect());
        (address, served)
    }

    fn header(request: &str, name: &str) -> String {
        let line = request.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
        line.expect(name).split_once(": ").expect("a value").1.to_owned()
    }

    #[tokio::test]
    async fn what_is_sent_again_has_the_number_it_had() {
        crate::cli::install_crypto();
        let (address, served) = answering(vec![
            "HTTP/1.1 503 x\r\nretry-after: 0\r\nconnection: close\r\ncontent-length: 35\r\n\r\n\
             {\"accepted\":1,   \"unconfirmed\":[1]}",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 14\r\n\r\n{\"accepted\":1}",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 14\r\n\r\n{\"accepted\":1}",
        ]);
        let client = Client::new(&address).expect("a client");
        let (mut summary, number) = (Summary::default(), Number::first());
        let two = Batch { body: b"{\"a\":1}\n{\"a\":2}\n".to_vec(), lines: vec![1, 2] };
        let one = Batch { body: b"{\"a\":3}\n".to_vec(), lines: vec![3] };
        send(&client, two, number, &mut summary).await.expect("sent");
        send(&client, one, number.after(2), &mut summary).await.expect("sent");
        let requests = served.join().expect("served");
        let of = |name| requests.iter().map(|r| header(r, name)).collect::<Vec<_>>();
        assert_eq!(of("weir-sequence"), ["0", "0", "2"]);
        assert_eq!(of("weir-producer"), vec![number.producer.to_string(); 3]);
        assert!(requests[1].ends_with("\r\n\r\n{\"a\":2}\n"), "{}", requests[1]);
        assert_eq!(summary.accepted, 3);
    }
}
