//! `TUMBLE(stream, DESCRIPTOR(time), size => INTERVAL '1' MINUTE [, offset => ...])` as a relation.
//!
//! Promise: the same text is a batch query over history and a rule: a window function only adds the
//! columns `window_start` and `window_end`, which are plain expressions over `time` (P7).
//! Elsewhere: foreign spellings are refused in `parse`; when a window closes is the runner's.

use super::did_you_mean;
use super::functions::{Edge, window_edge_expr};
use crate::stream::window::Tumble;
use datafusion::common::{ScalarValue, plan_datafusion_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query,
    Statement, TableAlias, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;

/// The window functions weir has a meaning for, now or later.
const WINDOW_FUNCTIONS: [&str; 5] = ["tumble", "hop", "session", "slide", "cumulate"];

/// Plans `TUMBLE(...)` in FROM.
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
            "hop" | "session" | "slide" | "cumulate" => plan_err!(
                "not yet: {} windows; write TUMBLE(stream, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)",
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

    // Flink's order: data, time column, size, offset.
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
    call.refuse_unknown(&["data", "timecol", "size", "offset"])?;
    if call.args.len() > 4 {
        return plan_err!("TUMBLE takes a stream, DESCRIPTOR(time), a size and an offset");
    }
    let data = call.argument(0, "data").ok_or_else(|| missing("the stream to read"))?;
    let time = call.argument(1, "timecol").ok_or_else(|| missing("DESCRIPTOR(time)"))?;
    let size = call.argument(2, "size").ok_or_else(|| missing("size => INTERVAL '1' MINUTE"))?;
    let input = context.plan(relation_of(data)?)?;
    let window = Tumble {
        size_us: positive(interval(size, &input, context)?)?,
        offset_us: match call.argument(3, "offset") {
            Some(offset) => interval(offset, &input, context)?,
            None => 0,
        },
    };
    let time = time_column(time, &input, context)?;
    let mut columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    columns.push(window_edge_expr(Edge::Start, time.clone(), window).alias("window_start"));
    columns.push(window_edge_expr(Edge::End, time, window).alias("window_end"));
    let plan = LogicalPlanBuilder::from(input).project(columns)?.build()?;
    Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, call.alias.clone()))))
}

fn missing(what: &str) -> DataFusionError {
    plan_datafusion_err!(
        "TUMBLE needs {what}: TUMBLE(stream, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)"
    )
}

fn positive(size_us: i64) -> Result<i64> {
    if size_us <= 0 {
        return plan_err!("the size of a window must be longer than zero");
    }
    Ok(size_us)
}

fn relation_of(data: &SqlExpr) -> Result<TableFactor> {
    let text = match data {
        SqlExpr::Subquery(query) => return Ok(derived(query)),
        SqlExpr::Nested(inner) => return relation_of(inner),
        SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => data.to_string(),
        other => return plan_err!("TUMBLE reads a stream or a (SELECT ...); '{other}' is neither"),
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

fn time_column(
    descriptor: &SqlExpr,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<Expr> {
    let column = match descriptor {
        SqlExpr::Function(call) if call.name.to_string().eq_ignore_ascii_case("descriptor") => {
            match arguments(call) {
                Some([FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))]) => expr.clone(),
                _ => return plan_err!("DESCRIPTOR takes one column: DESCRIPTOR(time)"),
            }
        }
        other => other.clone(),
    };
    match &column {
        SqlExpr::Identifier(Ident { value, .. }) if value.eq_ignore_ascii_case("time") => {}
        other => {
            return plan_err!(
                "windows follow the event time: write DESCRIPTOR(time), not DESCRIPTOR({other})"
            );
        }
    }
    context.sql_to_expr(column, input.schema())
}

fn interval(
    expr: &SqlExpr,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<i64> {
    match context.sql_to_expr(expr.clone(), input.schema())? {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) if value.months == 0 => {
            Ok(i64::from(value.days) * 86_400_000_000 + value.nanoseconds / 1_000)
        }
        Expr::Literal(ScalarValue::IntervalDayTime(Some(value)), _) => {
            Ok(i64::from(value.days) * 86_400_000_000 + i64::from(value.milliseconds) * 1_000)
        }
        _ => plan_err!(
            "'{expr}' is not a fixed length of time; write INTERVAL '1' MINUTE (months have no fixed length)"
        ),
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
