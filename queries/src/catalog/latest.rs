//! `latest.<stream>`: the newest reading of each series as a table.
//!
//! Promise: a scan reads on to what is durable and copies the columns and series that are asked for, no
//! more. Which series a condition on levels chooses is worked out once per series and kept with the
//! table: a plan that is used again looks at the series that are new since.

mod scan;

pub(crate) use scan::LatestScan;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::common::cast::as_boolean_array;
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;
use scan::Wanted;
use std::sync::Arc;
use weir_engine::tables::latest::{LatestRows, LatestTables, latest_schema};
use weir_ingest::log::Stream;
use weir_ingest::model::StreamDefinition;

/// Series looked at together.
const AT_ONCE: u32 = 65_536;

/// See the module.
#[derive(Debug)]
pub struct LatestTable {
    latest: Arc<LatestTables>,
    stream: Arc<Stream>,
    definition: Arc<StreamDefinition>,
    schema: SchemaRef,
    chosen: Arc<Mutex<Chosen>>,
}

/// The series that the conditions choose; these are the same at every scan of one plan.
#[derive(Debug, Default)]
struct Chosen {
    by: Vec<Expr>,
    /// So many series were looked at.
    seen: u32,
    series: Vec<u32>,
}

impl LatestTable {
    /// The table of `stream` as it is declared now.
    pub fn new(latest: Arc<LatestTables>, stream: Arc<Stream>) -> Self {
        let definition = stream.definition();
        let schema = latest_schema(&definition);
        Self { latest, stream, definition, schema, chosen: Arc::default() }
    }

    /// The stream, and its declaration that this is the table of.
    pub(crate) fn of(&self) -> (&Arc<Stream>, &Arc<StreamDefinition>) {
        (&self.stream, &self.definition)
    }

    fn is_of_levels(&self, filter: &Expr) -> bool {
        let levels = self.definition.levels();
        let is_level = |name: &str| name == "topic" || levels.iter().any(|level| level == name);
        let columns = filter.column_refs();
        !columns.is_empty()
            && columns.iter().all(|column| is_level(&column.name))
            && !filter.is_volatile()
            && !contains_subquery(filter)
    }

    fn condition(&self, state: &dyn Session, filters: &[Expr]) -> Result<Option<Condition>> {
        let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(None) };
        let schema = DFSchema::try_from(self.schema.as_ref().clone())?;
        let expr = state.create_physical_expr(filter, &schema)?;
        let mut columns: Vec<usize> = collect_columns(&expr).iter().map(|c| c.index()).collect();
        columns.sort_unstable();
        let read = Arc::new(self.schema.project(&columns)?);
        let expr = reassign_expr_columns(expr, &read)?;
        Ok(Some(Condition { columns, expr, by: filters.to_vec() }))
    }
}

/// A condition on levels.
#[derive(Debug)]
struct Condition {
    by: Vec<Expr>,
    /// The columns of the table that it reads.
    columns: Vec<usize>,
    expr: Arc<dyn PhysicalExpr>,
}

impl Chosen {
    /// Looks at the series that are new.
    fn cover(&mut self, condition: &Condition, rows: &LatestRows<'_>) -> Result<()> {
        if self.by != condition.by {
            *self = Self { by: condition.by.clone(), ..Self::default() };
        }
        let known = u32::try_from(rows.series()).expect("series ids are 32 bits");
        while self.seen < known {
            let until = known.min(self.seen.saturating_add(AT_ONCE));
            let series: Vec<u32> = (self.seen..until).collect();
            let levels = rows.columns(&series, &condition.columns);
            let keep = condition.expr.evaluate(&levels)?.into_array(series.len())?;
            let keep = as_boolean_array(&keep)?;
            let chosen = series.iter().zip(keep).filter(|(_, keep)| *keep == Some(true));
            self.series.extend(chosen.map(|(series, _)| *series));
            self.seen = until;
        }
        Ok(())
    }
}

#[async_trait]
impl TableProvider for LatestTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // A condition on levels may still fail on some (a CAST): above the scan it fails with its text.
        let support = |filter: &&Expr| match self.is_of_levels(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let columns: Vec<usize> = projection.cloned().unwrap_or_else(all);
        let schema = Arc::new(self.schema.project(&columns)?);
        let wanted = Wanted {
            latest: Arc::clone(&self.latest),
            stream: Arc::clone(&self.stream),
            definition: Arc::clone(&self.definition),
            condition: self.condition(state, filters)?,
            chosen: Arc::clone(&self.chosen),
            columns,
        };
        Ok(Arc::new(LatestScan::plan(wanted, schema).await?))
    }
}

fn contains_subquery(filter: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    let is_subquery = |expr: &Expr| {
        matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_))
    };
    filter.exists(|expr| Ok(is_subquery(expr))).unwrap_or(true)
}
