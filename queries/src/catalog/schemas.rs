//! Names to tables, looked up when a statement is planned.

use super::alarms::AlarmsNow;
use super::history::StreamTable;
use super::internal::InternalTable;
use super::latest::LatestTable;
use super::snapshot::SnapshotTable;
use super::{LATEST, PUBLIC, SYSTEM, Sources, system};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use std::sync::Arc;
use weir_engine::alarms::{AlarmBook, transition_rows};
use weir_engine::deliver::deliveries_schema;
use weir_engine::runtime::outputs::{errors_schema, late_schema};
use weir_ingest::doors::dead_letters_schema;
use weir_ingest::log::InternalLog;
use weir_ingest::model::EventTime;

/// The catalog `weir`: the schemas `public`, `latest` and `system`.
#[derive(Debug)]
pub struct WeirCatalog {
    sources: Sources,
    alarms: Arc<AlarmsNow>,
}

impl WeirCatalog {
    /// The catalog over these sources.
    pub fn new(sources: Sources) -> Self {
        let alarms = Arc::new(AlarmsNow::new(&sources.log));
        Self { sources, alarms }
    }
}

impl CatalogProvider for WeirCatalog {
    fn schema_names(&self) -> Vec<String> {
        [PUBLIC, LATEST, SYSTEM].map(ToOwned::to_owned).to_vec()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let sources = self.sources.clone();
        match name {
            PUBLIC => Some(Arc::new(PublicSchema { sources, alarms: Arc::clone(&self.alarms) })),
            LATEST => Some(Arc::new(LatestSchema { sources })),
            SYSTEM => Some(Arc::new(SystemSchema { sources })),
            _ => None,
        }
    }
}

/// The internal logs that are tables of `public`, with what one row of each looks like.
fn internal_tables() -> [(&'static str, InternalLog, SchemaRef); 6] {
    [
        ("alarm_history", InternalLog::Alarms, transition_rows::schema()),
        ("dead_letters", InternalLog::DeadLetters, dead_letters_schema()),
        ("deliveries", InternalLog::Deliveries, deliveries_schema()),
        ("late_readings", InternalLog::Late, late_schema()),
        ("rule_errors", InternalLog::RuleErrors, errors_schema()),
        ("rule_rows", InternalLog::Rows, transition_rows::schema()),
    ]
}

/// Streams, reference tables, `alarms` and the internal logs.
#[derive(Debug)]
struct PublicSchema {
    sources: Sources,
    alarms: Arc<AlarmsNow>,
}

const ALARMS: &str = "alarms";

#[async_trait]
impl SchemaProvider for PublicSchema {
    fn table_names(&self) -> Vec<String> {
        let streams = self.sources.log.streams().all();
        let mut names: Vec<String> =
            streams.iter().map(|stream| stream.definition().name().to_owned()).collect();
        names.extend(self.sources.references.list().iter().map(|t| t.definition.name().to_owned()));
        names.extend(internal_tables().iter().map(|(name, ..)| (*name).to_owned()));
        names.push(ALARMS.to_owned());
        names.sort_unstable();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if name == ALARMS {
            let (alarms, system) = (Arc::clone(&self.alarms), Arc::clone(&self.sources.system));
            let table = SnapshotTable::new(AlarmBook::schema(), move || alarms.rows(&system));
            return Ok(Some(Arc::new(table)));
        }
        if let Some((_, log, schema)) = internal_tables().into_iter().find(|t| t.0 == name) {
            let partition = Arc::clone(self.sources.log.internal(log));
            return Ok(Some(Arc::new(InternalTable::new(partition, &schema))));
        }
        if let Some(stream) = self.sources.log.streams().get(name) {
            return Ok(Some(Arc::new(StreamTable::new(stream))));
        }
        match self.sources.references.get(name) {
            Some(table) => {
                let now = EventTime(self.sources.log.append_clock().floor().0);
                let schema = Arc::clone(table.schema());
                let table = SnapshotTable::new(schema, move || {
                    table.at(now).map_err(|error| DataFusionError::External(Box::new(error)))
                });
                Ok(Some(Arc::new(table)))
            }
            None => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}

/// `latest.<stream>`.
#[derive(Debug)]
struct LatestSchema {
    sources: Sources,
}

#[async_trait]
impl SchemaProvider for LatestSchema {
    fn table_names(&self) -> Vec<String> {
        let streams = self.sources.log.streams().all();
        streams.iter().map(|stream| stream.definition().name().to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(stream) = self.sources.log.streams().get(name) else { return Ok(None) };
        let latest = Arc::clone(&self.sources.latest);
        Ok(Some(Arc::new(LatestTable::new(latest, stream))))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.sources.log.streams().get(name).is_some()
    }
}

/// `system.*`.
#[derive(Debug)]
struct SystemSchema {
    sources: Sources,
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        system::TABLES.map(ToOwned::to_owned).to_vec()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(system::table(&self.sources, name)
            .map(|table| Arc::new(table) as Arc<dyn TableProvider>))
    }

    fn table_exist(&self, name: &str) -> bool {
        system::TABLES.contains(&name)
    }
}
