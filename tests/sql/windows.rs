//! One seed of a windowed rule: its windows against the same SELECT as a batch.
//!
//! Promise (P7): every emitted window is what the batch says over the rows that were not late for it:
//! integers, counts, least and greatest exactly, DOUBLE within 1e-9; in (end, key) order, none missing.
//! What is late is listed, with the number of windows it missed. Both paths are held against it.

mod batch;
mod case;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use batch::{Late, batch, people, series, status, temperatures, times};
use case::{Case, Reading, SECOND, Step, case};
use std::sync::Arc;
use weir_engine::alarms::{RuleIdentity, Severity};
use weir_engine::runtime::outputs::Outputs;
use weir_engine::runtime::runner::{Runner, key_columns};
use weir_engine::sql::plan::{Relations, RulePlan, Shape, plan_rule};
use weir_engine::sql::{RuleStatement, Statement, parse_statements};
use weir_engine::stream::input::{Input, Lane, Offsets, Rows};
use weir_engine::stream::window::Path;
use weir_ingest::model::{AppendTime, EventTime, PartitionId, reading};

/// What happened, to see that something did.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub(crate) windows: u64,
    pub(crate) late: u64,
    pub(crate) dense: u64,
}

/// Runs one seed, on the dense path where there is one, and on the general path.
pub(crate) fn run(seed: u64) -> Result<Compared, String> {
    let case = case(seed)?;
    let (expected, late) = batch(&case)?;
    let mut compared = Compared { late: late.len() as u64, ..Compared::default() };
    let plan = plan(&case)?;
    let is_dense = matches!(&plan.1.shape, Shape::Windowed(w) if matches!(w.path, Path::Dense(_)));
    let mut plans = vec![plan.1.clone()];
    if is_dense {
        compared.dense = 1;
        plans.push(plan.1.on_the_general_path());
    }
    for plan_ in plans {
        let (rows, late_) = emitted(&case, &plan.0, plan_, seed)?;
        let told = |what: String| {
            format!("P7: {what}\n{}\nlateness {} s", case.rule, case.lateness / SECOND)
        };
        same(&rows, &expected).map_err(told)?;
        if late_ != late {
            return Err(told(format!("late are {late_:?}, the model says {late:?}")));
        }
        compared.windows += rows.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
    }
    Ok(compared)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn plan(case: &Case) -> Result<(RuleStatement, RulePlan), String> {
    let Some(Statement::CreateRule(rule)) = parse_statements(&case.rule).map_err(text)?.pop()
    else {
        return Err("it is no rule".to_owned());
    };
    let mut relations = Relations::default();
    relations.streams.insert("climate".to_owned(), Arc::clone(&case.definition));
    let plan = plan_rule(&rule, &relations).map_err(|e| format!("{}: {e}", case.rule))?;
    Ok((rule, plan))
}

/// What the rule emits, and (partition, offset, windows missed) of what it lists as late.
fn emitted(
    case: &Case,
    rule: &RuleStatement,
    plan: RulePlan,
    seed: u64,
) -> Result<(Vec<RecordBatch>, Late), String> {
    let identity = RuleIdentity {
        name: rule.name.clone(),
        uid: 1,
        version: 1,
        severity: Severity::Medium,
        key_columns: key_columns(&plan),
    };
    let mut runner = Runner::new(rule, Arc::new(plan), identity, AppendTime(-1));
    let (mut batches, mut late, mut appended) = (Vec::new(), Vec::new(), 0);
    let mut take =
        |out: Outputs| {
            let visible = |batch: &RecordBatch| {
                let columns: Vec<usize> = (0..batch.num_columns() - 1).collect();
                batch.project(&columns).map_err(text)
            };
            for rows in &out.rows {
                batches.push(visible(&rows.batch)?);
            }
            late.extend(out.late.iter().map(|l| {
                (l.reading.partition.0, l.reading.offset.0, l.missed.map_or(0, |m| m.count))
            }));
            match out.errors.first() {
                Some(error) => Err(format!("a row failed: {error:?}")),
                None => Ok(()),
            }
        };
    for step in &case.steps {
        appended += 1000;
        let input = match step {
            Step::Rows(rows) => Input::Rows(frame(case, rows, appended)?),
            Step::Tick { partition, time, flush } => Input::Tick {
                stream: 0,
                partition: PartitionId(*partition),
                event_time: EventTime(*time),
                flush: *flush,
                appended: AppendTime(appended),
            },
        };
        take(runner.step(&input).map_err(|e| format!("seed {seed}: {e}"))?)?;
    }
    late.sort_unstable();
    Ok((batches, late))
}

fn frame(case: &Case, rows: &[Reading], appended: i64) -> Result<Rows, String> {
    let stored = RecordBatch::try_new(
        reading::stored_schema(&case.definition, reading::Hidden::default()),
        vec![
            times(rows.iter().map(|r| r.time)),
            series(rows),
            temperatures(rows),
            people(rows),
            status(rows),
        ],
    );
    let one = rows.iter().all(|r| r.partition == rows[0].partition);
    let appends = (0..).map(|row| appended + row).take(rows.len()).collect::<Vec<i64>>();
    Ok(Rows {
        stream: 0,
        batch: stored.map_err(text)?,
        definition: Arc::clone(&case.definition),
        series: case.series.snapshot(),
        partitions: match one {
            true => Lane::Same(rows[0].partition),
            false => Lane::Each(rows.iter().map(|r| r.partition).collect::<Vec<_>>().into()),
        },
        offsets: Offsets::Each(rows.iter().map(|r| r.offset).collect::<Vec<_>>().into()),
        append_times: Lane::Each(appends.into()),
    })
}

/// Row by row, in order.
fn same(emitted: &[RecordBatch], expected: &[RecordBatch]) -> Result<(), String> {
    let rows = |batches: &[RecordBatch]| -> Result<Vec<Vec<Value>>, String> {
        batches.iter().map(values).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
    };
    let (emitted, expected) = (rows(emitted)?, rows(expected)?);
    for at in 0..emitted.len().max(expected.len()) {
        let (is, should) = (emitted.get(at), expected.get(at));
        let equal = match (is, should) {
            (Some(is), Some(should)) => is.iter().zip(should).all(|(a, b)| a.equals(b)),
            _ => false,
        };
        if !equal {
            return Err(format!("row {at} is {is:?}, the batch says {should:?}"));
        }
    }
    Ok(())
}

#[derive(Debug, Clone)]
enum Value {
    Double(f64),
    Other(String),
}

impl Value {
    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Double(a), Self::Double(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
            (Self::Other(a), Self::Other(b)) => a == b,
            _ => false,
        }
    }
}

fn values(batch: &RecordBatch) -> Result<Vec<Vec<Value>>, String> {
    let shown = FormatOptions::new().with_null("NULL");
    let formatters = batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &shown));
    let formatters: Vec<_> = formatters.collect::<Result<_, _>>().map_err(text)?;
    let value = |row: usize, at: usize| {
        let column = batch.column(at);
        match column.data_type() {
            DataType::Float64 if column.is_valid(row) => {
                Value::Double(column.as_primitive::<Float64Type>().value(row))
            }
            _ if column.is_null(row) => Value::Other("NULL".to_owned()),
            _ => Value::Other(format!("'{}'", formatters[at].value(row))),
        }
    };
    let of_row = |row| (0..batch.num_columns()).map(|at| value(row, at)).collect();
    Ok((0..batch.num_rows()).map(of_row).collect())
}
