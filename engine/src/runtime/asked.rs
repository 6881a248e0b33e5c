//! Questions that count sensors: which a stream has, by its table, as things stand.

use super::definition::relations;
use super::runner::listed_sensors;
use crate::sql::plan::{count_sensors, counts_sensors};
use crate::stream::window::{Asked, SeriesPlan};
use crate::tables::reference::ReferenceTables;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use std::sync::Arc;
use weir_ingest::log::Log;
use weir_ingest::model::SeriesDirectory;

/// The plan of a question; what it counts of sensors is worked out from the tables as they are now.
/// # Errors
/// Coverage is not known there, with the reason.
pub fn with_sensors(
    plan: LogicalPlan,
    log: &Log,
    references: &ReferenceTables,
) -> Result<Transformed<LogicalPlan>> {
    if !counts_sensors(&plan)? {
        return Ok(Transformed::no(plan));
    }
    let asked_of = |plan: &Arc<SeriesPlan>| {
        let definition = &plan.definition;
        let stream = log.streams().get(definition.name());
        let series = stream.map(|stream| stream.series().snapshot());
        let none = || SeriesDirectory::new(definition.template().clone()).snapshot();
        let named = definition.options().expected.as_ref();
        Asked {
            plan: Arc::clone(plan),
            series: series.unwrap_or_else(none),
            listed: named.map(|name| listed_sensors(definition, references.get(name).as_ref())),
        }
    };
    count_sensors(plan, &relations(log, references), &asked_of)
}
