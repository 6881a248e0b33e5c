//! `weir demo`: a simulated building on a fast clock, its incidents, alarms and answers.
//!
//! Promise: everything goes through the same doors, log, rules and delivery that `weir serve` runs;
//! only the clock is faster and the sensors are made up.

mod building;
mod clock;
mod narrator;
mod story;

use crate::client::Client;
use crate::config::Config;
use crate::duration;
use crate::output::thousands;
use crate::server::Server;
use crate::statements;
use anyhow::{Context, Result};
use building::Building;
use chrono::{NaiveTime, TimeZone};
use clock::EveningClock;
use narrator::Narrator;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::io::{Clock, RealClock};

/// How often the sensors are asked, in real time.
const STEP: Duration = Duration::from_millis(20);
const SEED: u64 = 41;

const DEFINITIONS: [&str; 8] = [
    include_str!("../queries/streams/climate.sql"),
    include_str!("../queries/streams/occupancy.sql"),
    include_str!("../queries/streams/fire.sql"),
    include_str!("../queries/streams/gasbio.sql"),
    include_str!("../queries/streams/device_health.sql"),
    include_str!("../queries/rules/evacuation.sql"),
    include_str!("../queries/rules/floor_hvac.sql"),
    include_str!("../queries/rules/unexpected_occupancy.sql"),
];

/// The five questions with the parameters the demo asks them with.
const QUESTIONS: [(&str, &[(&str, &str)]); 5] = [
    ("people_in_room", &[("building", "41"), ("floor", "3"), ("unit", "j"), ("room", "4")]),
    ("unoccupied_rooms", &[("building", "41")]),
    ("fire_at_site", &[("site", "berlin")]),
    ("air_quality", &[("building", "41"), ("floor", "2")]),
    ("unit_temperature", &[("building", "41"), ("unit", "3J")]),
];

/// What `weir demo` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How long it goes on, in real time
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    how_long: Duration,
    /// Seconds of the building's time in one real second
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    speed: u32,
}

/// Runs the evening.
/// # Errors
/// The temporary directory or a free port is not to be had.
pub async fn run(arguments: Arguments) -> Result<()> {
    let directory = Temporary::new()?;
    let config = Config {
        data: directory.path.join("data"),
        http: ([127, 0, 0, 1], 0).into(),
        ..Config::default()
    };
    let start_us = evening();
    let clock = Arc::new(EveningClock::new(start_us, arguments.speed));
    let server = Server::start(config, Arc::clone(&clock) as Arc<dyn Clock>).await?;
    let client = Client::new(&format!("http://{}", server.address()))?;
    let done = evening_with(&arguments, &client, &clock, start_us).await;
    server.stop().await?;
    done
}

async fn evening_with(
    arguments: &Arguments,
    client: &Client,
    clock: &Arc<EveningClock>,
    start_us: i64,
) -> Result<()> {
    for text in DEFINITIONS {
        for part in statements::split(text) {
            client.sql(part.text).await.with_context(|| part.text.to_owned())?;
        }
    }
    let mut building = Building::new(SEED, clock.wall_us());
    let narrator = Arc::new(Narrator::new(Arc::clone(clock), arguments.speed));
    narrator.opening(client.base(), building.size(), start_us);
    let listening = listen(client.clone(), Arc::clone(&narrator));
    let mut story = story::STORY.iter().peekable();
    let until = tokio::time::Instant::now() + arguments.how_long;
    let mut step = tokio::time::interval(STEP);
    let mut counts = Counts::default();
    let interrupted = loop {
        tokio::select! {
            _ = step.tick() => {}
            _ = tokio::signal::ctrl_c() => break Interrupted::Yes,
        }
        if tokio::time::Instant::now() >= until {
            break Interrupted::No;
        }
        let now = clock.wall_us();
        while let Some(incident) = story.next_if(|i| start_us + i.after_s * 1_000_000 <= now) {
            narrator.incident(now, incident.text);
            let extra = (incident.happen)(&mut building, now);
            if let Some(line) = extra.line {
                counts.add(&narrator, publish(client, line).await?);
            }
        }
        let readings = building.readings(clock.wall_us());
        if !readings.is_empty() {
            let lines: String = readings.iter().map(|reading| format!("{reading}\n")).collect();
            counts.add(&narrator, publish(client, lines).await?);
        }
    };
    listening.abort();
    narrator.summary(&counts.line());
    if interrupted == Interrupted::No {
        for (name, parameters) in QUESTIONS {
            ask(client, &narrator, name, parameters).await?;
        }
        narrator.where_to_go_on();
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interrupted {
    Yes,
    No,
}

/// What the door said so far.
#[derive(Debug, Default)]
struct Counts {
    accepted: u64,
    refused: u64,
}

impl Counts {
    fn add(&mut self, narrator: &Narrator, answer: Value) {
        self.accepted += answer["accepted"].as_u64().unwrap_or_default();
        for row in answer["refused"].as_array().into_iter().flatten() {
            self.refused += 1;
            narrator.refused(row["reason"].as_str().unwrap_or_default());
        }
    }

    fn line(&self) -> String {
        let (accepted, refused) = (thousands(self.accepted), thousands(self.refused));
        format!("{accepted} readings kept, {refused} refused and in dead_letters")
    }
}

async fn publish(client: &Client, lines: String) -> Result<Value> {
    let response = client.post_readings(lines.into()).await?;
    Ok(serde_json::from_str(&response.text().await?).unwrap_or_default())
}

fn listen(client: Client, narrator: Arc<Narrator>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let heard = crate::alarms::follow(&client, |event| narrator.transition(event)).await;
        if let Err(error) = heard {
            tracing::debug!(%error, "the live events ended");
        }
    })
}

async fn ask(
    client: &Client,
    narrator: &Narrator,
    name: &str,
    given: &[(&str, &str)],
) -> Result<()> {
    let question = weir_queries::http::Question::named(name)?;
    let given: Vec<(String, String)> =
        given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let path = format!("/v1/questions/{name}");
    let bytes = client.get(&path, &given, crate::client::media::ARROW).await?.bytes().await?;
    narrator.question(
        question.question,
        name,
        &given,
        question.sql,
        &crate::client::batches(&bytes)?,
    )
}

/// Today at 21:30 in Berlin: after closing time.
fn evening() -> i64 {
    let now = RealClock::new().wall_us();
    let zone = chrono_tz::Europe::Berlin;
    let today =
        chrono::DateTime::from_timestamp_micros(now).unwrap_or_default().with_timezone(&zone);
    let time = NaiveTime::from_hms_opt(21, 30, 0).unwrap_or_default();
    let local = today.date_naive().and_time(time);
    let evening = zone.from_local_datetime(&local).earliest().unwrap_or(today);
    evening.timestamp_micros()
}

/// A directory that goes when the demo ends.
#[derive(Debug)]
struct Temporary {
    path: std::path::PathBuf,
}

impl Temporary {
    fn new() -> Result<Self> {
        let name = format!("weir-demo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)
            .with_context(|| format!("{} cannot be created", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, "the temporary directory stays");
        }
    }
}
