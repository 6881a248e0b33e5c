//! A weir rule over the same batches: the operators the server runs, one thread.

use crate::workload::Workload;
use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use std::sync::Arc;
use weir_engine::alarms::{RuleIdentity, Severity};
use weir_engine::runtime::runner::{Runner, key_columns};
use weir_engine::sql::plan::{Relations, RulePlan, plan_rule};
use weir_engine::sql::{RuleStatement, Statement, parse_statements};
use weir_engine::stream::input::Input;
use weir_ingest::model::{AppendTime, StreamDefinition};

/// A planned rule.
pub(crate) struct Rule {
    statement: RuleStatement,
    plan: Arc<RulePlan>,
}

impl Rule {
    pub(crate) fn new(workload: &Workload, text: &str) -> Self {
        Self::over(&workload.definition, text)
    }

    pub(crate) fn over(definition: &Arc<StreamDefinition>, text: &str) -> Self {
        let statements = parse_statements(text).unwrap_or_else(|e| panic!("{e}"));
        let Some(Statement::CreateRule(statement)) = statements.into_iter().next() else {
            panic!("a rule")
        };
        let mut relations = Relations::default();
        relations.streams.insert(definition.name().to_owned(), Arc::clone(definition));
        let plan = plan_rule(&statement, &relations).unwrap_or_else(|e| panic!("{e}"));
        Self { statement, plan: Arc::new(plan) }
    }

    pub(crate) fn plan(&self) -> &RulePlan {
        &self.plan
    }

    pub(crate) fn start(&self) -> Runner {
        let identity = RuleIdentity {
            name: self.statement.name.clone(),
            uid: 1,
            version: 1,
            severity: Severity::Medium,
            key_columns: key_columns(&self.plan),
        };
        Runner::new(&self.statement, Arc::clone(&self.plan), identity, AppendTime(-1))
    }

    /// Runs over the whole workload; rows that came out, and the sum of a column of theirs.
    pub(crate) fn run(&self, workload: &Workload, column: &str) -> (usize, f64) {
        let mut runner = self.start();
        let (mut rows, mut total) = (0, 0.0);
        for input in workload.inputs() {
            let outputs = runner.step(&Input::Rows(input)).unwrap_or_else(|e| panic!("{e}"));
            assert!(outputs.late.is_empty() && outputs.errors.is_empty(), "no row is late");
            for closed in &outputs.rows {
                rows += closed.len();
                let values = closed.batch.column_by_name(column).expect("a column of the SELECT");
                total += match values.as_primitive_opt::<Float64Type>() {
                    Some(values) => values.values().iter().sum::<f64>(),
                    None => {
                        values.as_primitive::<Int64Type>().values().iter().map(|v| *v as f64).sum()
                    }
                };
            }
        }
        (rows, total)
    }
}
