//! Windows written in GROUP BY, rewritten into FROM.
//!
//! Promise: `GROUP BY tumble(time, INTERVAL '1 minute')` and Azure's `TumblingWindow(minute, 1)` give
//! the same tree as `FROM TUMBLE(stream, DESCRIPTOR(time), size => ...) GROUP BY window_start,
//! window_end`, and `hop(time, slide, size)` and Azure's `HoppingWindow(minute, size, hop)` that of
//! HOP; nothing after this knows of them.

use super::error::SqlError;
use super::refusals::{place, plain_name};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, Interval, ObjectName, ObjectNamePart, Select,
    TableAlias, TableFactor, TableFunctionArgs, Value, VisitorMut,
};
use std::ops::ControlFlow;

/// Rewrites every SELECT that groups by a window call.
pub(super) struct WindowCalls;

impl VisitorMut for WindowCalls {
    type Break = Box<SqlError>;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<SqlError>> {
        match rewrite(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

/// A window call: the column of its time, how long it is, and for HOP how far the next one starts.
struct WindowCall {
    time: Ident,
    size: Expr,
    slide: Option<Expr>,
}

fn rewrite(select: &mut Select) -> Result<(), SqlError> {
    let GroupByExpr::Expressions(groups, _) = &mut select.group_by else { return Ok(()) };
    let Some(index) = groups.iter().position(is_window_call) else { return Ok(()) };
    let Expr::Function(function) = &groups[index] else { return Ok(()) };
    let call = window_call(function)?;
    let misplaced = SqlError::new("a window in GROUP BY needs exactly one stream in FROM")
        .with_hint("write FROM TUMBLE(stream, DESCRIPTOR(time), size => ...) and GROUP BY ..., window_start, window_end");
    let misplaced = match place(&function.name) {
        Some(at) => misplaced.at(at),
        None => misplaced,
    };
    let [from] = select.from.as_mut_slice() else { return Err(misplaced) };
    if !from.joins.is_empty() || !into_window(&mut from.relation, call) {
        return Err(misplaced);
    }
    groups.remove(index);
    for column in ["window_end", "window_start"] {
        let column = Expr::Identifier(Ident::new(column));
        if !groups.contains(&column) {
            groups.insert(index.min(groups.len()), column);
        }
    }
    Ok(())
}

fn is_window_call(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function)
        if matches!(plain_name(&function.name).as_str(), "tumble" | "tumblingwindow" | "hop" | "hoppingwindow"))
}

/// Makes `stream [AS alias]` into `TUMBLE(stream, DESCRIPTOR(time), size => ...) AS alias`, or HOP.
fn into_window(relation: &mut TableFactor, call: WindowCall) -> bool {
    let TableFactor::Table { name, alias, args: args @ None, .. } = relation else { return false };
    let parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
    let Some(last) = parts.last().cloned() else { return false };
    let stream = match parts.len() {
        1 => Expr::Identifier(last.clone()),
        _ => Expr::CompoundIdentifier(parts),
    };
    let named = |name: &str, expr| FunctionArg::Named {
        name: Ident::new(name),
        arg: FunctionArgExpr::Expr(expr),
        operator: FunctionArgOperator::RightArrow,
    };
    let function = if call.slide.is_some() { "HOP" } else { "TUMBLE" };
    let mut arguments = vec![
        FunctionArg::Unnamed(FunctionArgExpr::Expr(stream)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(descriptor(call.time))),
        named("size", call.size),
    ];
    arguments.extend(call.slide.map(|slide| named("slide", slide)));
    *name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(function))]);
    *args = Some(TableFunctionArgs { args: arguments, settings: None });
    // So that `stream.column` still finds its column.
    alias.get_or_insert(TableAlias { explicit: true, name: last, columns: Vec::new(), at: None });
    true
}

fn descriptor(time: Ident) -> Expr {
    let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(time)));
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new("DESCRIPTOR"))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![argument],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn window_call(function: &Function) -> Result<WindowCall, SqlError> {
    let arguments = plain_arguments(function);
    let call = match plain_name(&function.name).as_str() {
        "tumble" => tumble(&arguments),
        "hop" => hop(&arguments),
        "hoppingwindow" => hopping_window(&arguments),
        _ => tumbling_window(&arguments),
    };
    call.ok_or_else(|| {
        let error = SqlError::new("this is not how a window is written in GROUP BY").with_hint(
            "write GROUP BY tumble(time, INTERVAL '5 minutes') or GROUP BY TumblingWindow(minute, 5); for \
             hopping windows GROUP BY hop(time, INTERVAL '1 minute', INTERVAL '5 minutes'), slide first, \
             or GROUP BY HoppingWindow(minute, 5, 1), size first",
        );
        match place(&function.name) {
            Some(at) => error.at(at),
            None => error,
        }
    })
}

fn plain_arguments(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let plain = |arg| match arg {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    // A named argument makes the list too short, and the call is refused.
    list.args.iter().filter_map(plain).collect()
}

/// `tumble(time, INTERVAL '5 minutes')`
fn tumble(arguments: &[&Expr]) -> Option<WindowCall> {
    let [time, size @ Expr::Interval(_)] = arguments else { return None };
    Some(WindowCall { time: column(time)?, size: (*size).clone(), slide: None })
}

/// `hop(time, INTERVAL '1 minute', INTERVAL '5 minutes')`
fn hop(arguments: &[&Expr]) -> Option<WindowCall> {
    let [time, slide @ Expr::Interval(_), size @ Expr::Interval(_)] = arguments else {
        return None;
    };
    let slide = Some((*slide).clone());
    Some(WindowCall { time: column(time)?, size: (*size).clone(), slide })
}

fn column(expr: &Expr) -> Option<Ident> {
    match expr {
        Expr::Identifier(ident) => Some(ident.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().cloned(),
        _ => None,
    }
}

/// `TumblingWindow(minute, 5)` or `TumblingWindow(Duration(minute, 5))`
fn tumbling_window(arguments: &[&Expr]) -> Option<WindowCall> {
    let size = match arguments {
        [duration] => length(duration)?,
        [unit, count] => interval(unit, count)?,
        _ => return None,
    };
    Some(WindowCall { time: Ident::new("time"), size, slide: None })
}

/// `HoppingWindow(minute, 5, 1)` or `HoppingWindow(Duration(minute, 5), Hop(minute, 1))`
fn hopping_window(arguments: &[&Expr]) -> Option<WindowCall> {
    let (size, slide) = match arguments {
        [size, slide] => (length(size)?, length(slide)?),
        [unit, size, slide] => (interval(unit, size)?, interval(unit, slide)?),
        _ => return None,
    };
    Some(WindowCall { time: Ident::new("time"), size, slide: Some(slide) })
}

/// `Duration(minute, 5)` or `Hop(minute, 5)`
fn length(expr: &Expr) -> Option<Expr> {
    let Expr::Function(function) = expr else { return None };
    let arguments = plain_arguments(function);
    let [unit, count] = arguments.as_slice() else { return None };
    let is_length = matches!(plain_name(&function.name).as_str(), "duration" | "hop");
    if is_length { interval(unit, count) } else { None }
}

fn interval(unit: &Expr, count: &Expr) -> Option<Expr> {
    let (Expr::Identifier(unit), Expr::Value(count)) = (unit, count) else { return None };
    let Value::Number(count, _) = &count.value else { return None };
    let text = format!("{count} {}", unit.value.to_lowercase());
    super::duration::parse_duration(&text).ok()?;
    let value = Expr::Value(Value::SingleQuotedString(text).into());
    Some(Expr::Interval(Interval {
        value: Box::new(value),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    }))
}
