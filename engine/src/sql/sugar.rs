//! Windows written in GROUP BY, rewritten into FROM.
//!
//! Promise: `GROUP BY tumble(time, INTERVAL '1 minute')` and Azure's `TumblingWindow(minute, 1)` give
//! the same tree as `FROM TUMBLE(stream, DESCRIPTOR(time), size => ...) GROUP BY window_start,
//! window_end`, and `hop(time, slide, size)` and Azure's `HoppingWindow(minute, size, hop)` that of
//! HOP; `session(time, gap)` and Azure's `SessionWindow(minute, gap)` that of SESSION; nothing after
//! this knows of them.

pub(super) mod along;
mod session;

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

/// A window call: the function it becomes, the column of its time, and its lengths by name.
struct WindowCall {
    function: &'static str,
    time: Ident,
    lengths: Vec<(&'static str, Expr)>,
}

impl WindowCall {
    fn tumble(time: Ident, size: Expr) -> Self {
        Self { function: "TUMBLE", time, lengths: vec![("size", size)] }
    }

    fn hop(time: Ident, size: Expr, slide: Expr) -> Self {
        Self { function: "HOP", time, lengths: vec![("size", size), ("slide", slide)] }
    }
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
    groups.remove(index);
    let key = if call.function == "SESSION" { session::key(groups)? } else { Vec::new() };
    let [from] = select.from.as_mut_slice() else { return Err(misplaced) };
    if !from.joins.is_empty() {
        return Err(misplaced);
    }
    let read = match call.function {
        "SESSION" => session::readings(&from.relation, select.selection.take()),
        _ => stream(&from.relation),
    };
    let Some(read) = read else { return Err(misplaced) };
    into_window(&mut from.relation, read, call, key);
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
        if matches!(plain_name(&function.name).as_str(), "tumble" | "tumblingwindow" | "hop" | "hoppingwindow" | "session" | "sessionwindow"))
}

/// The name of a stream, as an argument.
fn stream(relation: &TableFactor) -> Option<Expr> {
    let TableFactor::Table { name, args: None, .. } = relation else { return None };
    let parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
    match parts.as_slice() {
        [] => None,
        [one] => Some(Expr::Identifier(one.clone())),
        _ => Some(Expr::CompoundIdentifier(parts)),
    }
}

/// Makes `stream [AS alias]` into `TUMBLE(read, DESCRIPTOR(time), size => ...) AS alias`, or another.
fn into_window(relation: &mut TableFactor, read: Expr, call: WindowCall, key: Vec<Ident>) {
    let TableFactor::Table { name, alias, args, .. } = relation else { return };
    let named = |name: &str, expr| FunctionArg::Named {
        name: Ident::new(name),
        arg: FunctionArgExpr::Expr(expr),
        operator: FunctionArgOperator::RightArrow,
    };
    let mut arguments = vec![
        FunctionArg::Unnamed(FunctionArgExpr::Expr(read)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(descriptor(vec![call.time]))),
    ];
    if !key.is_empty() {
        arguments.push(named("key", descriptor(key)));
    }
    arguments.extend(call.lengths.into_iter().map(|(name, length)| named(name, length)));
    // So that `stream.column` still finds its column.
    if let Some(name) = name.0.last().and_then(|part| part.as_ident().cloned()) {
        alias.get_or_insert(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
    }
    *name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(call.function))]);
    *args = Some(TableFunctionArgs { args: arguments, settings: None });
}

fn descriptor(columns: Vec<Ident>) -> Expr {
    let argument = |column| FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(column)));
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new("DESCRIPTOR"))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: columns.into_iter().map(argument).collect(),
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
        "session" => session::session(&arguments),
        "sessionwindow" => return session::session_window(function, &arguments),
        _ => tumbling_window(&arguments),
    };
    call.ok_or_else(|| {
        let error = SqlError::new("this is not how a window is written in GROUP BY").with_hint(
            "write GROUP BY tumble(time, INTERVAL '5 minutes') or GROUP BY TumblingWindow(minute, 5); for \
             hopping windows GROUP BY hop(time, INTERVAL '1 minute', INTERVAL '5 minutes'), slide first, \
             or GROUP BY HoppingWindow(minute, 5, 1), size first; for sessions GROUP BY room, \
             session(time, INTERVAL '5 minutes')",
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
    Some(WindowCall::tumble(column(time)?, (*size).clone()))
}

/// `hop(time, INTERVAL '1 minute', INTERVAL '5 minutes')`
fn hop(arguments: &[&Expr]) -> Option<WindowCall> {
    let [time, slide @ Expr::Interval(_), size @ Expr::Interval(_)] = arguments else {
        return None;
    };
    Some(WindowCall::hop(column(time)?, (*size).clone(), (*slide).clone()))
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
    Some(WindowCall::tumble(Ident::new("time"), size))
}

/// `HoppingWindow(minute, 5, 1)` or `HoppingWindow(Duration(minute, 5), Hop(minute, 1))`
fn hopping_window(arguments: &[&Expr]) -> Option<WindowCall> {
    let (size, slide) = match arguments {
        [size, slide] => (length(size)?, length(slide)?),
        [unit, size, slide] => (interval(unit, size)?, interval(unit, slide)?),
        _ => return None,
    };
    Some(WindowCall::hop(Ident::new("time"), size, slide))
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
