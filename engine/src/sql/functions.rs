//! Functions weir adds to DataFusion's.
//!
//! Windows are made of the functions in `grid` and `session`, `lag(x)` and `rate(x)` of those in `along`;
//! `local_time(time, zone)`, `local_minute(time, zone)` (0 to 1439) and `local_weekday(time, zone)`
//! (1 = Monday to 7 = Sunday) read a UTC time on the wall clock of an IANA zone; a zone that does not
//! exist is an error that names it. All are pure: the same input gives the same answer for ever.

pub(super) mod along;
pub(super) mod coverage;
pub(super) mod grid;
pub(super) mod session;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use chrono_tz::Tz;
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// All of them.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    let mut functions: Vec<_> = grid::all().collect();
    functions.extend(
        [Local::Time, Local::Minute, Local::Weekday]
            .map(|what| Arc::new(ScalarUDF::new_from_impl(LocalFunction::new(what)))),
    );
    functions
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
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
