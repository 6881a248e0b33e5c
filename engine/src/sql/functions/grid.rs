//! What `TUMBLE` and `HOP` are planned into, each over (time, slide, size, offset, zone):
//!
//! `window_start_of` and `window_end_of` are the edges of the one window of TUMBLE that holds a time;
//! `window_starts_of` lists the starts of all windows of HOP that hold it, and `window_ends_at` is
//! where the window ends that starts at a time. Lengths are microseconds, the zone '' is UTC.

use crate::sql::duration::LENGTH_US_MAX;
use crate::stream::grid::Grid;
use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::{Arc, LazyLock};

/// Which function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::sql) enum GridFunction {
    /// Start of the window that holds the time.
    StartOf,
    /// End of the window that holds the time.
    EndOf,
    /// Starts of all windows that hold the time.
    StartsOf,
    /// End of the window that starts at the time.
    EndsAt,
}

static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 4]> = LazyLock::new(|| {
    use GridFunction::{EndOf, EndsAt, StartOf, StartsOf};
    [StartOf, EndOf, StartsOf, EndsAt]
        .map(|what| Arc::new(ScalarUDF::new_from_impl(Udf::new(what))))
});

/// All of them.
pub(super) fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    FUNCTIONS.iter().map(Arc::clone)
}

/// The call of one over `time`.
pub(in crate::sql) fn call(what: GridFunction, time: Expr, grid: Grid) -> Expr {
    let length = |us| Expr::Literal(ScalarValue::Int64(Some(us)), None);
    let zone = grid.zone.map_or("", |zone| zone.name()).to_owned();
    let zone = Expr::Literal(ScalarValue::Utf8(Some(zone)), None);
    let lengths = [grid.slide_us, grid.size_us, grid.offset_us].map(length);
    FUNCTIONS[what as usize].call([vec![time], lengths.to_vec(), vec![zone]].concat())
}

/// The grid and the function, if `expr` is a call of one.
pub(in crate::sql) fn of(expr: &Expr) -> Option<(GridFunction, Grid)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let udf = call.func.inner().as_ref() as &dyn std::any::Any;
    let what = udf.downcast_ref::<Udf>()?.what;
    let [_, slide, size, offset, Expr::Literal(ScalarValue::Utf8(Some(zone)), _)] =
        call.args.as_slice()
    else {
        return None;
    };
    let length = |expr: &Expr| match expr {
        Expr::Literal(ScalarValue::Int64(value), _) => *value,
        _ => None,
    };
    let zone = if zone.is_empty() { None } else { Some(zone.parse().ok()?) };
    let (slide_us, size_us, offset_us) = (length(slide)?, length(size)?, length(offset)?);
    Some((what, Grid { size_us, slide_us, offset_us, zone }))
}

/// Whether it is one of them.
pub(in crate::sql) fn is_grid_function(function: &ScalarUDF) -> bool {
    (function.inner().as_ref() as &dyn std::any::Any).is::<Udf>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Udf {
    what: GridFunction,
    signature: Signature,
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn item() -> FieldRef {
    Arc::new(Field::new_list_field(utc(), true))
}

impl Udf {
    fn new(what: GridFunction) -> Self {
        let length = || DataType::Int64;
        let arguments = vec![utc(), length(), length(), length(), DataType::Utf8];
        Self { what, signature: Signature::exact(arguments, Volatility::Immutable) }
    }

    fn edges(&self, times: &TimestampMicrosecondArray, grid: Grid) -> ArrayRef {
        let edge = |time: i64| match self.what {
            GridFunction::StartOf => grid.edge(grid.last_window(grid.pane(time))),
            GridFunction::EndOf => grid.end(grid.last_window(grid.pane(time))),
            GridFunction::EndsAt | GridFunction::StartsOf => grid.end(grid.pane(time)),
        };
        let edges: TimestampMicrosecondArray = times.unary(edge);
        Arc::new(edges.with_timezone("UTC"))
    }
}

fn starts(times: &TimestampMicrosecondArray, grid: Grid) -> ArrayRef {
    let (mut starts, mut lengths) = (Vec::new(), Vec::with_capacity(times.len()));
    for time in times {
        let before = starts.len();
        if let Some(time) = time {
            starts.extend(grid.windows(grid.pane(time)).map(|window| grid.edge(window)));
        }
        lengths.push(starts.len() - before);
    }
    let starts = TimestampMicrosecondArray::from(starts).with_timezone("UTC");
    let offsets = OffsetBuffer::from_lengths(lengths);
    Arc::new(ListArray::new(item(), offsets, Arc::new(starts), None))
}

impl ScalarUDFImpl for Udf {
    fn name(&self) -> &str {
        match self.what {
            GridFunction::StartOf => "window_start_of",
            GridFunction::EndOf => "window_end_of",
            GridFunction::StartsOf => "window_starts_of",
            GridFunction::EndsAt => "window_ends_at",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.what {
            GridFunction::StartsOf => DataType::List(item()),
            _ => utc(),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let times = args.args[0].to_array(args.number_rows)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let Some(grid) = grid(&args.args)? else {
            let nothing = self.return_type(&[])?;
            return Ok(ColumnarValue::Array(new_null_array(&nothing, times.len())));
        };
        Ok(ColumnarValue::Array(match self.what {
            GridFunction::StartsOf => starts(times, grid),
            _ => self.edges(times, grid),
        }))
    }
}

/// The grid the arguments say; `None` if one of them is NULL.
fn grid(args: &[ColumnarValue]) -> Result<Option<Grid>> {
    let scalar = |at: usize| match &args[at] {
        ColumnarValue::Scalar(value) => Ok(value.clone()),
        ColumnarValue::Array(array) if array.is_empty() => Ok(ScalarValue::Null),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(array, 0),
    };
    let length = |at: usize| match scalar(at)? {
        ScalarValue::Int64(length) => Ok::<_, DataFusionError>(length),
        _ => Ok(None),
    };
    let (Some(slide_us), Some(size_us), Some(offset_us)) = (length(1)?, length(2)?, length(3)?)
    else {
        return Ok(None);
    };
    if slide_us <= 0 || size_us <= 0 {
        return exec_err!("a window's size and slide are longer than zero");
    }
    let far = |us: i64| us.unsigned_abs() > LENGTH_US_MAX;
    if far(slide_us) || far(size_us) || far(offset_us) {
        return exec_err!("a window's size, slide and offset are at most 100 years");
    }
    let zone = match scalar(4)? {
        ScalarValue::Utf8(Some(zone)) if zone.is_empty() => None,
        ScalarValue::Utf8(Some(zone)) => Some(super::zone_named(&zone, &mut None)?),
        _ => return Ok(None),
    };
    let grid = Grid { size_us, slide_us, offset_us, zone };
    if grid.panes_per_window() > Grid::PANES_MAX {
        return exec_err!("a window has at most {} pieces of one slide", Grid::PANES_MAX);
    }
    Ok(Some(grid))
}
