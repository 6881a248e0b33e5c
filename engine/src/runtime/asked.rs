//! Questions that count sensors: which a stream has, by its table, as things stand.

use super::definition::relations;
use super::runner::listed_sensors;
use crate::sql::plan::count_sensors;
use crate::stream::window::{Asked, SeriesPlan};
use crate::tables::reference::ReferenceTables;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::LogicalPlan;
use std::sync::Arc;
use weir_ingest::log::Log;

pub use crate::sql::plan::counts_sensors;

/// The plan of a question that counts sensors; what it counts of them is worked out from the tables as they
/// are now, and kept within `pool` as long as the plan. It looks at each sensor: call it on a thread that
/// may take its time.
/// # Errors
/// Coverage is not known there, with the reason, or there are more sensors than there is memory for.
pub fn with_sensors(
    plan: LogicalPlan,
    log: &Log,
    references: &ReferenceTables,
    pool: &Arc<dyn MemoryPool>,
) -> Result<Transformed<LogicalPlan>> {
    let asked_of = |plan: &Arc<SeriesPlan>| {
        let definition = &plan.definition;
        let named = definition.options().expected.as_ref();
        Asked {
            plan: Arc::clone(plan),
            listed: named.map(|name| listed_sensors(definition, references.get(name).as_ref())),
        }
    };
    count_sensors(plan, &relations(log, references), &asked_of, pool)
}
