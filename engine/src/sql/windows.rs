//! `TUMBLE(stream, DESCRIPTOR(time), size => INTERVAL '1' MINUTE [, offset => ..., timezone => ...])`
//! and `HOP(stream, DESCRIPTOR(time), slide => ..., size => ... [, offset => ..., timezone => ...])` as
//! relations; SESSION stands in `session`.
//!
//! Promise: the same text is a batch query over history and a rule: a window function only adds the
//! columns `window_start` and `window_end`, made of `time` by plain expressions; HOP gives a row once
//! for each window that holds it (P7).
//! Elsewhere: foreign spellings are refused in `parse`; when a window closes is the runner's.

mod session;
mod time;

use super::did_you_mean;
use super::duration::LENGTH_US_MAX;
use super::functions::grid::{self, GridFunction};
use crate::stream::grid::Grid;
use chrono_tz::Tz;
use datafusion::common::{Column, ScalarValue, plan_datafusion_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Statement,
    TableAlias, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;
use time::time_column;

/// The window functions weir has a meaning for, now or later.
const WINDOW_FUNCTIONS: [&str; 5] = ["tumble", "hop", "session", "slide", "cumulate"];

/// Plans `TUMBLE(...)`, `HOP(...)` and `SESSION(...)` in FROM.
#[derive(Debug)]
pub(super) struct WindowPlanner;

impl RelationPlanner for WindowPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let Some(call) = Call::of(&relation) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        match call.name.as_str() {
            "tumble" => plan_tumble(&call, context),
            "hop" => plan_hop(&call, context),
            "session" => session::plan(&call, context),
            "slide" | "cumulate" => plan_err!(
                "not yet: {} windows; write TUMBLE(stream, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) \
                 or HOP(stream, DESCRIPTOR(time), slide => INTERVAL '1' MINUTE, size => INTERVAL '5' MINUTE)",
                call.name.to_uppercase()
            ),
            name => match did_you_mean(name, WINDOW_FUNCTIONS) {
                Some(known) => plan_err!(
                    "'{name}' is not a window function; did you mean {}?",
                    known.to_uppercase()
                ),
                None => Ok(RelationPlanning::Original(Box::new(relation))),
            },
        }
    }
}

struct Call {
    name: String,
    args: Vec<FunctionArg>,
    alias: Option<TableAlias>,
}

impl Call {
    fn of(relation: &TableFactor) -> Option<Self> {
        let (name, args, alias) = match relation {
            TableFactor::Table { name, args: Some(args), alias, .. } => {
                (name.to_string(), args.args.clone(), alias.clone())
            }
            TableFactor::TableFunction { expr: SqlExpr::Function(call), alias } => {
                (call.name.to_string(), arguments(call)?.to_vec(), alias.clone())
            }
            TableFactor::Function { name, args, alias, .. } => {
                (name.to_string(), args.clone(), alias.clone())
            }
            _ => return None,
        };
        Some(Self { name: name.to_ascii_lowercase(), args, alias })
    }

    // Flink's order: data, time column, [slide,] size, offset; then the timezone.
    fn argument(&self, position: usize, name: &str) -> Option<&SqlExpr> {
        let named = self.args.iter().find_map(|arg| match arg {
            FunctionArg::Named { name: found, arg: FunctionArgExpr::Expr(expr), .. }
                if found.value.eq_ignore_ascii_case(name) =>
            {
                Some(expr)
            }
            _ => None,
        });
        named.or_else(|| match self.args.get(position) {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))) => Some(expr),
            _ => None,
        })
    }

    fn needed(&self, position: usize, name: &str, example: &str) -> Result<&SqlExpr> {
        let what = if name == "timecol" { "DESCRIPTOR(time)" } else { name };
        self.argument(position, name).ok_or_else(|| self.lacks(what, example))
    }

    fn lacks(&self, what: &str, example: &str) -> DataFusionError {
        plan_datafusion_err!("{} needs {what}: {example}", self.name.to_uppercase())
    }

    fn refuse_unknown(&self, known: &[&str]) -> Result<()> {
        for arg in &self.args {
            if let FunctionArg::Named { name, .. } = arg
                && !known.iter().any(|k| name.value.eq_ignore_ascii_case(k))
            {
                return plan_err!(
                    "{} has no argument '{}'; it takes {}",
                    self.name.to_uppercase(),
                    name.value,
                    known.join(", ")
                );
            }
        }
        Ok(())
    }
}

fn arguments(call: &Function) -> Option<&[FunctionArg]> {
    match &call.args {
        FunctionArguments::List(list) => Some(&list.args),
        _ => None,
    }
}

fn plan_tumble(call: &Call, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
    const EXAMPLE: &str = "TUMBLE(stream, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)";
    call.refuse_unknown(&["data", "timecol", "size", "offset", "timezone"])?;
    if call.args.len() > 5 {
        return plan_err!(
            "TUMBLE takes a stream, DESCRIPTOR(time), a size, an offset and a timezone"
        );
    }
    let source = Source::of(call, EXAMPLE, context)?;
    let size_us = source.length(call.needed(2, "size", EXAMPLE)?, "size", context)?;
    let (offset_us, zone) = source.alignment(call, 3, context)?;
    let grid = Grid { size_us, slide_us: size_us, offset_us, zone };
    let time = || source.time.clone();
    let mut columns = source.columns();
    columns.push(grid::call(GridFunction::StartOf, time(), grid).alias("window_start"));
    columns.push(grid::call(GridFunction::EndOf, time(), grid).alias("window_end"));
    let plan = LogicalPlanBuilder::from(source.input).project(columns)?.build()?;
    Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, call.alias.clone()))))
}

/// Each row is unnested from the list of its windows' starts.
fn plan_hop(call: &Call, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
    const EXAMPLE: &str =
        "HOP(stream, DESCRIPTOR(time), slide => INTERVAL '1' MINUTE, size => INTERVAL '5' MINUTE)";
    call.refuse_unknown(&["data", "timecol", "slide", "size", "offset", "timezone"])?;
    if call.args.len() > 6 {
        return plan_err!(
            "HOP takes a stream, DESCRIPTOR(time), a slide, a size, an offset and a timezone"
        );
    }
    let source = Source::of(call, EXAMPLE, context)?;
    let slide_us = source.length(call.needed(2, "slide", EXAMPLE)?, "slide", context)?;
    let size_us = source.length(call.needed(3, "size", EXAMPLE)?, "size", context)?;
    if slide_us > size_us {
        return plan_err!(
            "the slide is longer than the size, so rows between the windows would be lost; did you \
             mean slide and size the other way round? {EXAMPLE}"
        );
    }
    let (offset_us, zone) = source.alignment(call, 4, context)?;
    let grid = Grid { size_us, slide_us, offset_us, zone };
    if grid.panes_per_window() > Grid::PANES_MAX {
        return plan_err!(
            "a window of this size and slide is made of {} pieces of {} microseconds; at most {} \
             are taken: choose a slide that goes into the size more evenly",
            grid.panes_per_window(),
            grid.pane_us(),
            Grid::PANES_MAX
        );
    }
    let mut columns = source.columns();
    let time = source.time.clone();
    columns.push(grid::call(GridFunction::StartsOf, time, grid).alias("window_start"));
    let unnested = LogicalPlanBuilder::from(source.input)
        .project(columns)?
        .unnest_column("window_start")?
        .build()?;
    let mut columns: Vec<Expr> =
        unnested.schema().columns().into_iter().map(Expr::Column).collect();
    let start = Expr::Column(Column::from_name("window_start"));
    columns.push(grid::call(GridFunction::EndsAt, start, grid).alias("window_end"));
    let plan = LogicalPlanBuilder::from(unnested).project(columns)?.build()?;
    Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, call.alias.clone()))))
}

/// What a window function reads, and the time it follows.
struct Source {
    input: LogicalPlan,
    time: Expr,
}

impl Source {
    fn of(call: &Call, example: &str, context: &mut dyn RelationPlannerContext) -> Result<Self> {
        let data = call.argument(0, "data").ok_or_else(|| call.lacks("the stream", example))?;
        let time = call.needed(1, "timecol", example)?;
        let input = context.plan(relation_of(data)?)?;
        let time = time_column(time, &input, context)?;
        Ok(Self { input, time })
    }

    /// Those of what is read; the edges of windows below give way to its own.
    fn columns(&self) -> Vec<Expr> {
        let columns = self.input.schema().columns().into_iter();
        let edge = |name: &str| name == "window_start" || name == "window_end";
        columns.filter(|column| !edge(&column.name)).map(Expr::Column).collect()
    }

    fn length(
        &self,
        expr: &SqlExpr,
        what: &str,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<i64> {
        positive(interval(expr, &self.input, context)?, what)
    }

    /// `offset` and `timezone`, the first of which stands at `position`.
    fn alignment(
        &self,
        call: &Call,
        position: usize,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<(i64, Option<Tz>)> {
        let offset = call.argument(position, "offset");
        let offset = offset.map(|offset| interval(offset, &self.input, context)).transpose()?;
        let zone = call.argument(position + 1, "timezone");
        let zone = zone.map(|zone| timezone(zone, &self.input, context)).transpose()?;
        Ok((offset.unwrap_or(0), zone))
    }
}

fn timezone(
    expr: &SqlExpr,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<Tz> {
    let zone = match context.sql_to_expr(expr.clone(), input.schema())? {
        Expr::Literal(ScalarValue::Utf8(Some(zone)), _) => zone.parse().ok(),
        _ => None,
    };
    zone.ok_or_else(|| {
        plan_datafusion_err!("{expr} is not an IANA time zone; write one such as 'Europe/Berlin'")
    })
}

fn positive(length_us: i64, what: &str) -> Result<i64> {
    if length_us <= 0 {
        return plan_err!("the {what} of a window must be longer than zero");
    }
    Ok(length_us)
}

fn relation_of(data: &SqlExpr) -> Result<TableFactor> {
    let text = match data {
        SqlExpr::Subquery(query) => return Ok(derived(query)),
        SqlExpr::Nested(inner) => return relation_of(inner),
        SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => data.to_string(),
        other => {
            return plan_err!("a window reads a stream or a (SELECT ...); '{other}' is neither");
        }
    };
    parse_relation(&text)
}

fn parse_relation(text: &str) -> Result<TableFactor> {
    let parsed = Parser::new(&GenericDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_table_factor());
    parsed.map_err(|e| plan_datafusion_err!("'{text}' does not name a stream: {e}"))
}

// `expose_tables` wrapped a plain name as (SELECT * FROM name): unwrap it, so that the name goes on
// qualifying its columns.
fn derived(query: &Query) -> TableFactor {
    if let Some(select) = query.body.as_select()
        && let [from] = select.from.as_slice()
        && query.to_string() == format!("SELECT * FROM {}", from.relation)
    {
        return from.relation.clone();
    }
    let alias = None;
    TableFactor::Derived { lateral: false, subquery: Box::new(query.clone()), alias, sample: None }
}

fn interval(
    expr: &SqlExpr,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<i64> {
    let (days, rest_us) = match context.sql_to_expr(expr.clone(), input.schema())? {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) if value.months == 0 => {
            (value.days, value.nanoseconds / 1_000)
        }
        Expr::Literal(ScalarValue::IntervalDayTime(Some(value)), _) => {
            (value.days, i64::from(value.milliseconds) * 1_000)
        }
        _ => {
            return plan_err!(
                "'{expr}' is not a fixed length of time; write INTERVAL '1' MINUTE (months have no fixed length)"
            );
        }
    };
    // Days are 32 bits, so neither this nor an edge of a window can leave what a time can be.
    let us = i128::from(days) * 86_400_000_000 + i128::from(rest_us);
    match i64::try_from(us).ok().filter(|us| us.unsigned_abs() <= LENGTH_US_MAX) {
        Some(us) => Ok(us),
        None => plan_err!("{expr} is too long for a window; write at most 100 years"),
    }
}

/// Makes the names inside `TUMBLE(name, ...)` visible to whatever collects the tables of a statement,
/// by writing them as `(SELECT * FROM name)`.
pub(super) fn expose_tables(statement: &mut Statement) {
    let flow: ControlFlow<()> = VisitMut::visit(statement, &mut Expose);
    debug_assert!(flow.is_continue(), "the visitor never breaks");
}

struct Expose;

impl VisitorMut for Expose {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(args), .. } => {
                expose(&name.to_string(), &mut args.args);
            }
            TableFactor::Function { name, args, .. } => expose(&name.to_string(), args),
            TableFactor::TableFunction { expr: SqlExpr::Function(call), .. } => {
                let name = call.name.to_string();
                if let FunctionArguments::List(list) = &mut call.args {
                    expose(&name, &mut list.args);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn expose(function: &str, args: &mut [FunctionArg]) {
    if !WINDOW_FUNCTIONS.contains(&function.to_ascii_lowercase().as_str()) {
        return;
    }
    let data = args.iter_mut().enumerate().find_map(|(position, arg)| match arg {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. }
            if name.value.eq_ignore_ascii_case("data") =>
        {
            Some(expr)
        }
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if position == 0 => Some(expr),
        _ => None,
    });
    if let Some(expr @ (SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_))) = data {
        let text = format!("(SELECT * FROM {expr})");
        let subquery = Parser::new(&GenericDialect {})
            .try_with_sql(&text)
            .and_then(|mut parser| parser.parse_expr());
        if let Ok(subquery) = subquery {
            *expr = subquery;
        }
    }
}
