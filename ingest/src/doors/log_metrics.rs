//! What the log measured of itself, in Prometheus' text format.
//!
//! Promise: made when somebody asks; the log keeps counting meanwhile.

use crate::log::{Log, Measure, Measured, Refused, Removed};
use std::fmt::{self, Write};

/// Upper bounds of times in microseconds: from 16 us, doubling, to 16 s.
const TIME_BOUNDS: [u64; 21] = doubling(16);
/// Upper bounds of rows, from 1, and of bytes, from 128.
const ROW_BOUNDS: [u64; 21] = doubling(1);
const BYTE_BOUNDS: [u64; 16] = doubling(128);
const QUANTILES: [(&str, f64); 4] = [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99), ("0.999", 0.999)];

const fn doubling<const N: usize>(first: u64) -> [u64; N] {
    let mut bounds = [first; N];
    let mut n = 1;
    while n < N {
        bounds[n] = bounds[n - 1] * 2;
        n += 1;
    }
    bounds
}

/// A measure as it is shown.
struct Shown {
    measure: Measure,
    name: &'static str,
    bounds: &'static [u64],
    /// What one of it is in the unit of the name.
    unit: f64,
}

const SHOWN: [Shown; 4] = [
    Shown {
        measure: Measure::AppendUs,
        name: "weir_log_append_seconds",
        bounds: &TIME_BOUNDS,
        unit: 1e-6,
    },
    Shown {
        measure: Measure::SyncUs,
        name: "weir_log_sync_seconds",
        bounds: &TIME_BOUNDS,
        unit: 1e-6,
    },
    Shown {
        measure: Measure::GroupRows,
        name: "weir_log_group_rows",
        bounds: &ROW_BOUNDS,
        unit: 1.0,
    },
    Shown {
        measure: Measure::GroupBytes,
        name: "weir_log_group_bytes",
        bounds: &BYTE_BOUNDS,
        unit: 1.0,
    },
];

/// The log's part of the answer.
pub(super) fn text(log: &Log) -> String {
    let logs = [("streams", log.measured()), ("internal", log.measured_internal())];
    let mut text = String::new();
    write(&mut text, &logs).expect("into a string");
    retention(&mut text, log.removed()).expect("into a string");
    let suspect = u64::from(log.clock_state().is_suspect());
    writeln!(text, "# TYPE weir_clock_suspect gauge\nweir_clock_suspect {suspect}")
        .expect("into a string");
    text
}

fn retention(text: &mut String, removed: Removed) -> fmt::Result {
    let Removed { segments, bytes, holds_released } = removed;
    for (name, n) in [
        ("weir_log_segments_removed_total", segments),
        ("weir_log_bytes_removed_total", bytes),
        ("weir_log_holds_released_total", holds_released),
    ] {
        writeln!(text, "# TYPE {name} counter\n{name} {n}")?;
    }
    Ok(())
}

fn write(text: &mut String, logs: &[(&str, &Measured)]) -> fmt::Result {
    for shown in &SHOWN {
        histogram(text, shown, logs)?;
        quantiles(text, shown, logs)?;
    }
    writeln!(text, "# TYPE weir_appends_refused_total counter")?;
    for (log, measured) in logs {
        for reason in Refused::ALL {
            let (word, n) = (reason.word(), measured.refusals(reason));
            writeln!(text, "weir_appends_refused_total{{log=\"{log}\",reason=\"{word}\"}} {n}")?;
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people and graphs")]
fn scaled(value: u64, shown: &Shown) -> f64 {
    // Rounded, so that 16 us is 0.000016 and not a neighbour of it.
    let scaled = value as f64 * shown.unit;
    if shown.unit < 1.0 { (scaled * 1e6).round() / 1e6 } else { scaled }
}

fn histogram(text: &mut String, shown: &Shown, logs: &[(&str, &Measured)]) -> fmt::Result {
    let name = shown.name;
    writeln!(text, "# TYPE {name} histogram")?;
    for (log, measured) in logs {
        let spread = measured.distribution(shown.measure);
        for bound in shown.bounds {
            let (le, n) = (scaled(*bound, shown), spread.count_up_to(*bound));
            writeln!(text, "{name}_bucket{{log=\"{log}\",le=\"{le}\"}} {n}")?;
        }
        let count = spread.count();
        writeln!(text, "{name}_bucket{{log=\"{log}\",le=\"+Inf\"}} {count}")?;
        writeln!(text, "{name}_sum{{log=\"{log}\"}} {}", spread.sum() * shown.unit)?;
        writeln!(text, "{name}_count{{log=\"{log}\"}} {count}")?;
    }
    Ok(())
}

fn quantiles(text: &mut String, shown: &Shown, logs: &[(&str, &Measured)]) -> fmt::Result {
    let name = shown.name;
    writeln!(text, "# TYPE {name}_quantile gauge")?;
    for (log, measured) in logs {
        let spread = measured.distribution(shown.measure);
        for (label, quantile) in QUANTILES {
            let value = scaled(spread.quantile(quantile), shown);
            writeln!(text, "{name}_quantile{{log=\"{log}\",quantile=\"{label}\"}} {value}")?;
        }
    }
    Ok(())
}
