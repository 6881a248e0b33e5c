//! Plans that are used again: the same text with the same values, over the same declarations.
//!
//! Promise: what is kept is how to answer, never an answer; a plan is used only while every table it
//! reads is declared as it was. Elsewhere: what a table holds is read at every use.
//! How a plan is to be run is kept, too, where nothing in it remembers that it ran before.

use crate::catalog::{LatestScan, LatestTable, StreamTable};
use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use weir_ingest::log::{Log, Stream};
use weir_ingest::model::StreamDefinition;

/// How many are kept; the one that was not used for longest goes.
const KEPT: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Plans(Mutex<VecDeque<Plan>>);

#[derive(Debug, Clone)]
struct Plan {
    /// The text and its values.
    key: Arc<str>,
    kept: Kept,
    basis: Basis,
}

/// What a plan that is kept stands on: the streams that its statement names, as they were declared.
#[derive(Debug, Clone)]
pub(super) struct Basis(Arc<[Read]>);

/// What is kept of a plan.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    /// Optimised.
    Logical(LogicalPlan),
    /// Ready to be run.
    Physical(Arc<dyn ExecutionPlan>),
}

/// A stream that a statement reads.
#[derive(Debug, Clone)]
struct Read {
    stream: Arc<Stream>,
    definition: Arc<StreamDefinition>,
}

impl Read {
    /// Whether the stream is still there, declared as it was.
    fn is_current(&self, log: &Log) -> bool {
        log.streams().get(self.definition.name()).is_some_and(|stream| {
            Arc::ptr_eq(&stream, &self.stream)
                && Arc::ptr_eq(&stream.definition(), &self.definition)
        })
    }
}

impl Plans {
    /// The plan of a text and its values, if it is kept and may be used, and what it stands on.
    pub(super) fn of(&self, key: &str, log: &Log) -> Option<(Kept, Basis)> {
        let mut plans = self.0.lock();
        let at = plans.iter().position(|plan| &*plan.key == key)?;
        let plan = plans.remove(at)?;
        if !plan.basis.0.iter().all(|read| read.is_current(log)) {
            return None;
        }
        let (found, basis) = (plan.kept.clone(), plan.basis.clone());
        plans.push_back(plan);
        drop(plans);
        let found = match found {
            Kept::Physical(plan) => Kept::Physical(reset_plan_states(plan).ok()?),
            logical => logical,
        };
        Some((found, basis))
    }

    /// Keeps the plan of a text and its values, if it says the same whenever it is used; what it stands on
    /// then. `said` is the plan before it was optimised: what an optimiser needs not read (LIMIT 0) still
    /// says which columns there are, and whether there is such a stream.
    pub(super) fn keep(
        &self,
        key: &str,
        said: &LogicalPlan,
        optimised: &LogicalPlan,
    ) -> Option<Basis> {
        let basis = reads_of(said).ok().flatten().filter(|_| is_timeless(said))?;
        let basis = Basis(basis.into());
        let mut plans = self.0.lock();
        plans.retain(|known| &*known.key != key);
        if plans.len() == KEPT {
            plans.pop_front();
        }
        let kept = Kept::Logical(optimised.clone());
        plans.push_back(Plan { key: key.into(), kept, basis: basis.clone() });
        Some(basis)
    }

    /// Keeps also how a plan that is kept is to be run, if that can be done again. One of the same text
    /// that was kept meanwhile stands on something else, and stays as it is.
    pub(super) fn keep_physical(&self, key: &str, basis: &Basis, plan: &Arc<dyn ExecutionPlan>) {
        if !runs_again(plan) {
            return;
        }
        let mut plans = self.0.lock();
        let same = |known: &&mut Plan| &*known.key == key && Arc::ptr_eq(&known.basis.0, &basis.0);
        if let Some(known) = plans.iter_mut().find(same) {
            known.kept = Kept::Physical(Arc::clone(plan));
        }
    }
}

/// Whether a plan consists of what does the same each time: it asks for what is there now, and neither
/// builds tables nor learns bounds while it runs.
fn runs_again(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let sort = plan.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_none());
    let merge = plan.is::<SortPreservingMergeExec>() && plan.fetch().is_none();
    let plain = plan.is::<LatestScan>()
        || plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<CooperativeExec>();
    (sort || merge || plain) && plan.children().into_iter().all(runs_again)
}

/// The streams that a plan reads; `None` if it reads anything else, or tells how it is run.
fn reads_of(plan: &LogicalPlan) -> Result<Option<Vec<Read>>> {
    let (mut reads, mut may) = (Vec::new(), true);
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => {
                let provider = source_as_provider(&scan.source)?;
                let of = match provider.downcast_ref::<LatestTable>() {
                    Some(latest) => Some(latest.of()),
                    None => provider.downcast_ref::<StreamTable>().map(StreamTable::of),
                };
                match of {
                    Some((stream, definition)) => reads.push(Read {
                        stream: Arc::clone(stream),
                        definition: Arc::clone(definition),
                    }),
                    None => may = false,
                }
            }
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => may = false,
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(may.then_some(reads))
}

/// Whether a plan, not optimised yet, says the same whenever it is made: `now()` becomes a constant.
fn is_timeless(plan: &LogicalPlan) -> bool {
    let depends = |expr: &Expr| match expr {
        Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
        _ => false,
    };
    let mut timeless = true;
    let looked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            timeless &= !expr.exists(|expr| Ok(depends(expr)))?;
            Ok(TreeNodeRecursion::Continue)
        })
    });
    looked.is_ok() && timeless
}

#[cfg(test)]
mod tests;
