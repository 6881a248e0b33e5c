//! Functions weir adds to DataFusion's.
//!
//! `window_start_of(time, size, offset)` and `window_end_of(...)` are what `TUMBLE` is planned into;
//! `local_time(time, zone)`, `local_minute(time, zone)` (0 to 1439) and `local_weekday(time, zone)`
//! (1 = Monday to 7 = Sunday) read a UTC time on the wall clock of an IANA zone; a zone that does not
//! exist is an error that names it. All are pure: the same input gives the same answer for ever.

use crate::stream::window::Tumble;
use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use chrono_tz::Tz;
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::{Arc, LazyLock};

/// Name of the function whose value is a window's start.
pub const WINDOW_START_OF: &str = "window_start_of";
/// Name of the function whose value is a window's end.
pub const WINDOW_END_OF: &str = "window_end_of";

/// All of them.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    let mut functions: Vec<_> = [Edge::Start, Edge::End].map(window_edge).into();
    functions.extend(
        [Local::Time, Local::Minute, Local::Weekday]
            .map(|what| Arc::new(ScalarUDF::new_from_impl(LocalFunction::new(what)))),
    );
    functions
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Which edge of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edge {
    /// Its start, inclusive.
    Start,
    /// Its end, exclusive.
    End,
}

/// The expression for one edge of the window that holds `time`.
pub fn window_edge_expr(edge: Edge, time: Expr, window: Tumble) -> Expr {
    let literal = |us| Expr::Literal(ScalarValue::Int64(Some(us)), None);
    window_edge(edge).call(vec![time, literal(window.size_us), literal(window.offset_us)])
}

fn window_edge(edge: Edge) -> Arc<ScalarUDF> {
    static START: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(WindowEdge::new(Edge::Start))));
    static END: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(WindowEdge::new(Edge::End))));
    Arc::clone(match edge {
        Edge::Start => &START,
        Edge::End => &END,
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowEdge {
    edge: Edge,
    signature: Signature,
}

impl WindowEdge {
    fn new(edge: Edge) -> Self {
        let arguments = vec![utc(), DataType::Int64, DataType::Int64];
        Self { edge, signature: Signature::exact(arguments, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for WindowEdge {
    fn name(&self) -> &str {
        match self.edge {
            Edge::Start => WINDOW_START_OF,
            Edge::End => WINDOW_END_OF,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(utc())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let times = arrays[0].as_primitive::<TimestampMicrosecondType>();
        let number = |i: usize| arrays[i].as_primitive::<Int64Type>();
        let (Some(size_us), Some(offset_us)) = (first(number(1)), first(number(2))) else {
            return Ok(ColumnarValue::Array(arrow::array::new_null_array(&utc(), times.len())));
        };
        let window = Tumble { size_us, offset_us };
        let edges: TimestampMicrosecondArray = match self.edge {
            Edge::Start => times.unary(|time| window.start(time)),
            Edge::End => times.unary(|time| window.end(time)),
        };
        Ok(ColumnarValue::Array(Arc::new(edges.with_timezone("UTC"))))
    }
}

fn first(values: &Int64Array) -> Option<i64> {
    (!values.is_empty()).then(|| values.value(0))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Local {
    Time,
    Minute,
    Weekday,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LocalFunction {
    what: Local,
    signature: Signature,
}

impl LocalFunction {
    fn new(what: Local) -> Self {
        Self { what, signature: Signature::any(2, Volatility::Immutable) }
    }

    fn value(&self, local: NaiveDateTime) -> i64 {
        match self.what {
            Local::Time => local.and_utc().timestamp_micros(),
            Local::Minute => i64::from(local.hour() * 60 + local.minute()),
            Local::Weekday => i64::from(local.weekday().number_from_monday()),
        }
    }
}

impl ScalarUDFImpl for LocalFunction {
    fn name(&self) -> &str {
        match self.what {
            Local::Time => "local_time",
            Local::Minute => "local_minute",
            Local::Weekday => "local_weekday",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.what {
            Local::Time => DataType::Timestamp(TimeUnit::Microsecond, None),
            Local::Minute | Local::Weekday => DataType::Int64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let times = cast(&arrays[0], &utc())?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let zones = cast(&arrays[1], &DataType::Utf8)?;
        let zones: &StringArray = zones.as_string();
        let mut known: Option<(String, Tz)> = None;
        let mut values = Int64Array::builder(times.len());
        for (time, zone) in times.iter().zip(zones) {
            match (time, zone) {
                (Some(time), Some(zone)) => {
                    let zone = zone_named(zone, &mut known)?;
                    let utc = DateTime::from_timestamp_micros(time);
                    values.append_option(
                        utc.map(|utc| self.value(utc.with_timezone(&zone).naive_local())),
                    );
                }
                _ => values.append_null(),
            }
        }
        let values: ArrayRef = Arc::new(values.finish());
        Ok(ColumnarValue::Array(match self.what {
            Local::Time => cast(&values, &DataType::Timestamp(TimeUnit::Microsecond, None))?,
            Local::Minute | Local::Weekday => values,
        }))
    }
}

fn zone_named(name: &str, known: &mut Option<(String, Tz)>) -> Result<Tz> {
    if let Some((known_name, zone)) = known
        && known_name == name
    {
        return Ok(*zone);
    }
    let Ok(zone) = name.parse::<Tz>() else {
        return exec_err!("'{name}' is not an IANA time zone; write one such as 'Europe/Berlin'");
    };
    *known = Some((name.to_owned(), zone));
    Ok(zone)
}
