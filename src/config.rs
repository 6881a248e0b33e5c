//! `weir.toml`: one struct per crate, unknown keys refused, checked once.
//!
//! Promise: what the server runs with is printed at its start, secrets hidden.

use crate::duration;
use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_engine::runtime::follower::RULE_MEMORY_MAX;
use weir_ingest::doors::kafka::KafkaLimits;
use weir_ingest::doors::mqtt::MqttLimits;
use weir_ingest::log::{HOLD_BYTES_MAX, InternalLog, RoomMarks};
use weir_ingest::model::{Limits, Retention};
use weir_queries::session::QueryLimits;

/// Everything a server can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// Where HTTP listens; loopback only until tokens and TLS exist. Port 0 takes a free one.
    pub http: SocketAddr,
    /// Where MQTT listens; loopback only, as above. Without it there is no MQTT door.
    pub mqtt: Option<SocketAddr>,
    /// Where Kafka's wire listens; loopback only, as above. Without it there is no such door.
    pub kafka: Option<SocketAddr>,
    /// Doors and log.
    pub ingest: Ingest,
    /// Rules, alarms, delivery.
    pub engine: Engine,
    /// Questions.
    pub queries: QueryLimits,
    /// The log in a Kafka cluster, with `weir serve --log kafka://broker:9092`.
    pub cluster: Cluster,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            http: SocketAddr::from(([127, 0, 0, 1], 8520)),
            mqtt: None,
            kafka: None,
            ingest: Ingest::default(),
            engine: Engine::default(),
            queries: QueryLimits::default(),
            cluster: Cluster::default(),
        }
    }
}

/// `[ingest]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// Size at which a segment is sealed.
    pub segment_bytes_max: u64,
    /// Age at which a segment that holds rows is sealed.
    pub segment_age_s_max: u64,
    /// How long a commit waits for company; the previous sync is usually enough.
    pub linger_us: u64,
    /// Where the room on the disk becomes too little.
    pub room: RoomMarks,
    /// Bounds of doors and log.
    pub limits: Limits,
    /// Bounds of the MQTT door, and what it passes on.
    pub mqtt: MqttLimits,
    /// Bounds of the Kafka door.
    pub kafka: KafkaLimits,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 * 1024 * 1024,
            segment_age_s_max: 3600,
            linger_us: 0,
            room: RoomMarks::default(),
            limits: Limits::default(),
            mqtt: MqttLimits::default(),
            kafka: KafkaLimits::default(),
        }
    }
}

/// `[engine]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Hosts, addresses and networks webhooks may reach though they are not public.
    pub webhook_allow: Vec<String>,
    /// Bytes the state of one rule may take; the rule stops beyond, the others go on.
    pub rule_memory_max: usize,
    /// How long transitions of alarms are kept, such as "365d"; "forever" keeps all. Open alarms and
    /// what rules and subscriptions need are kept longer.
    pub alarm_retention: String,
    /// How long rows of rules without RAISE WHEN are kept.
    pub row_retention: String,
    /// Bytes of one partition that one rule or subscription may keep beyond what retention keeps; then
    /// the rule stops, or the subscription goes on with what is left.
    pub hold_bytes_max: u64,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            webhook_allow: Vec::new(),
            rule_memory_max: RULE_MEMORY_MAX,
            alarm_retention: "365d".to_owned(),
            row_retention: "7d".to_owned(),
            hold_bytes_max: HOLD_BYTES_MAX,
        }
    }
}

impl Engine {
    /// How weir's own logs are kept.
    /// # Errors
    /// A length of time that is none.
    pub fn retention(&self) -> Result<BTreeMap<InternalLog, Retention>> {
        let mut all = BTreeMap::new();
        for (which, key, text) in [
            (InternalLog::Alarms, "alarm_retention", &self.alarm_retention),
            (InternalLog::Rows, "row_retention", &self.row_retention),
        ] {
            if text.trim() == "forever" {
                continue;
            }
            let age = duration::parse(text).map_err(|why| anyhow!("engine.{key}: {why}"))?;
            if age.is_zero() {
                bail!("engine.{key} = \"{text}\" would keep nothing; write \"7d\" or \"forever\"");
            }
            all.insert(which, Retention { age: Some(age), bytes: None });
        }
        Ok(all)
    }
}

/// `[cluster]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// What the processes that share the partitions are called together.
    pub group: String,
    /// Where they keep checkpoints: `file:///` and a directory that all of them see.
    pub checkpoints: String,
    /// Where alarms go; `<group>.weir-alarms` where nothing is said.
    pub alarms_topic: Option<String>,
    /// By stream, the levels whose values its records are keyed by; by the topic path where nothing is
    /// said.
    pub keyed_by: BTreeMap<String, Vec<String>>,
    /// About so many bytes of input between two checkpoints of a partition.
    pub checkpoint_bytes: u64,
    /// Properties of librdkafka, such as `"client.rack" = "a"`.
    pub properties: BTreeMap<String, String>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            group: "weir".to_owned(),
            checkpoints: String::new(),
            alarms_topic: None,
            keyed_by: BTreeMap::new(),
            checkpoint_bytes: 64 * 1024 * 1024,
            properties: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Reads a file; without one, the defaults.
    /// # Errors
    /// The file cannot be read, or has a key or value that is none.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let Some(file) = file else { return Ok(Self::default()) };
        let source = config::File::from(file).format(config::FileFormat::Toml);
        let read = config::Config::builder().add_source(source).build();
        read.and_then(config::Config::try_deserialize)
            .with_context(|| format!("{} cannot be used", file.display()))
    }

    /// Refuses what must not be.
    /// # Errors
    /// The sentence that says what to change.
    pub fn check(&self) -> Result<()> {
        let addresses = [("http", Some(self.http)), ("mqtt", self.mqtt), ("kafka", self.kafka)];
        for (key, address) in addresses {
            if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
                bail!(
                    "{key} = \"{address}\" is not a loopback address; until tokens and TLS exist weir listens on 127.0.0.1 or [::1] only: put a proxy that authenticates before it"
                );
            }
        }
        if self.ingest.limits.request_bytes_max > self.ingest.limits.ingest_bytes_max {
            bail!(
                "ingest.limits.request_bytes_max is larger than ingest.limits.ingest_bytes_max; no request of that size could ever be taken"
            );
        }
        if self.ingest.limits.partition_bytes_max > self.ingest.limits.ingest_bytes_max {
            bail!(
                "ingest.limits.partition_bytes_max is larger than ingest.limits.ingest_bytes_max; a partition's share is a part of the whole"
            );
        }
        self.engine.retention()?;
        if self.ingest.segment_bytes_max < 1024 * 1024 {
            bail!("ingest.segment_bytes_max is below 1 MiB; write at least 1048576");
        }
        Ok(())
    }

    /// Age at which a segment is sealed.
    pub fn segment_age_max(&self) -> Duration {
        Duration::from_secs(self.ingest.segment_age_s_max)
    }

    /// The keys and values in force, one a line.
    pub fn lines(&self) -> Vec<String> {
        let value = serde_json::to_value(self).unwrap_or_default();
        let mut lines = Vec::new();
        flatten("", &value, &mut lines);
        lines
    }
}

fn flatten(prefix: &str, value: &serde_json::Value, lines: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let path =
                    if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&path, value, lines);
            }
        }
        _ if is_secret(prefix) && !value.is_null() => {
            lines.push(format!("{prefix} = (hidden)"));
        }
        _ => lines.push(format!("{prefix} = {value}")),
    }
}

/// What librdkafka takes may be a password or a key.
fn is_secret(key: &str) -> bool {
    let property = key.strip_prefix("cluster.properties.");
    let hidden = ["password", "sasl.", "ssl.key"];
    key.ends_with("secret") || property.is_some_and(|name| hidden.iter().any(|h| name.contains(h)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("weir.toml");
        #[allow(clippy::disallowed_methods, reason = "a file of the test")]
        std::fs::write(&file, text).expect("it is writable");
        Config::load(Some(&file))
    }

    #[test]
    fn what_is_left_out_keeps_its_default() {
        let config =
            load("data = \"elsewhere\"\n[ingest.limits]\nconnections_max = 7\n").expect("fine");
        assert_eq!(config.data, PathBuf::from("elsewhere"));
        assert_eq!(config.ingest.limits.connections_max, 7);
        assert_eq!(config.http, Config::default().http);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        for text in ["colour = 1", "[ingest]\nsegment_size = 1", "[ingest.limits]\nrows = 1"] {
            let key = text.lines().last().and_then(|l| l.split(' ').next()).expect("a key");
            let error = format!("{:#}", load(text).expect_err(text));
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn an_address_beyond_this_machine_is_refused() {
        for text in
            ["http = \"0.0.0.0:8520\"", "mqtt = \"0.0.0.0:1883\"", "kafka = \"0.0.0.0:9092\""]
        {
            let config = load(text).expect("it is an address");
            let error = config.check().expect_err("not loopback").to_string();
            assert!(error.contains("loopback") && error.contains(&text[..4]), "{error}");
        }
    }

    #[test]
    fn how_long_weirs_own_logs_are_kept_is_checked() {
        let engine = |text: &str| load(&format!("[engine]\n{text}\n")).expect("texts").engine;
        let kept = engine("row_retention = \"2h\"\nalarm_retention = \"forever\"");
        let age = Some(Duration::from_secs(7200));
        let expected = [(InternalLog::Rows, Retention { age, bytes: None })].into();
        assert_eq!(kept.retention().expect("fine"), expected);
        for text in ["row_retention = \"0s\"", "alarm_retention = \"a year\""] {
            let error = engine(text).retention().expect_err(text).to_string();
            assert!(error.contains(&text[..13]), "{error}");
        }
    }

    #[test]
    fn what_may_be_a_password_is_not_shown() {
        let text =
            "[cluster.properties]\n\"sasl.password\" = \"sesame\"\n\"client.rack\" = \"a\"\n";
        let lines = load(text).expect("fine").lines();
        assert!(
            lines.contains(&"cluster.properties.sasl.password = (hidden)".to_owned()),
            "{lines:?}"
        );
        assert!(lines.contains(&"cluster.properties.client.rack = \"a\"".to_owned()), "{lines:?}");
    }

    #[test]
    fn every_key_is_shown() {
        let lines = Config::default().lines();
        assert!(lines.contains(&"http = \"127.0.0.1:8520\"".to_owned()), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("ingest.limits.series_max = ")));
    }
}
