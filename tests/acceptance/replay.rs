//! `weir replay`: the same file gives the same output, however it is cut and restarted (S3).

use crate::harness::weir;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// Rules per reading and over windows, so that both kinds of state are restarted.
const WINDOWED: &str = "
CREATE RULE warm_minutes SEVERITY medium KEY (mote)
  RAISE WHEN avg_temp > 30 FOR INTERVAL '1' MINUTE
  CLEAR WHEN avg_temp < 29
AS SELECT mote, window_end, avg(temperature) AS avg_temp, sum(humidity) AS total, count(*) AS n
   FROM TUMBLE(motes, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
   GROUP BY mote, window_start, window_end;
CREATE RULE minutes AS SELECT mote, window_end, min(temperature) AS low, max(temperature) AS high
   FROM TUMBLE(motes, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
   GROUP BY mote, window_start, window_end;";

struct Case {
    directory: tempfile::TempDir,
    define: PathBuf,
    input: PathBuf,
}

impl Case {
    fn motes() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let rule =
            std::fs::read_to_string(Path::new(FIXTURES).join("wsn_rule.sql")).expect("committed");
        let define = directory.path().join("define.sql");
        std::fs::write(&define, rule + WINDOWED).expect("scratch");
        let input = Path::new(FIXTURES).join("wsn_multihop_labelled/readings.ndjson");
        Self { directory, define, input }
    }

    /// The output lines without the summary, and the summary.
    fn replay(&self, options: &[&str]) -> (Vec<String>, serde_json::Value) {
        let output = weir()
            .arg("replay")
            .arg("--define")
            .arg(&self.define)
            .arg("--input")
            .arg(&self.input)
            .args(options)
            .current_dir(self.directory.path())
            .output()
            .expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{options:?}: {errors}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let summary = lines.pop().expect("a summary at the end");
        let mut summary: serde_json::Value = serde_json::from_str(&summary).expect("JSON");
        assert_eq!(summary["kind"], "summary");
        summary.as_object_mut().expect("an object").remove("seconds");
        (lines, summary)
    }
}

#[test]
fn batches_and_restarts_do_not_show_in_the_output() {
    let case = Case::motes();
    let reference = case.replay(&["--partitions", "4"]);
    assert!(reference.0.iter().any(|line| line.contains("\"raised\"")), "something was raised");
    assert!(reference.0.iter().any(|line| line.contains("\"kind\":\"row\"")), "rows came out");
    for options in [
        ["--batch", "1"].as_slice(),
        &["--batch", "7"],
        &["--batch", "8192"],
        &["--restart-every", "100"],
        &["--restart-every", "1000", "--batch", "7"],
    ] {
        let options: Vec<&str> = ["--partitions", "4"].iter().chain(options).copied().collect();
        let other = case.replay(&options);
        assert_eq!(other.1, reference.1, "S3: {options:?}");
        assert_eq!(other.0, reference.0, "S3: {options:?}");
    }
}

#[test]
fn one_partition_and_four_give_the_same_rows_and_transitions() {
    let case = Case::motes();
    let one = case.replay(&["--partitions", "1", "--flush"]);
    let four = case.replay(&["--partitions", "4", "--flush"]);
    assert_eq!((&one.1["late"], &four.1["late"]), (&0.into(), &0.into()), "late: 0 in both");
    let (one, four) = (by_identity(&one.0), by_identity(&four.0));
    assert_eq!(one.keys().collect::<Vec<_>>(), four.keys().collect::<Vec<_>>());
    for (identity, a) in &one {
        for (name, value) in a.as_object().expect("an object") {
            let other = &four[identity][name];
            match (value.as_f64(), other.as_f64()) {
                (Some(a), Some(b)) => {
                    assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{identity} {name}: {a} {b}");
                }
                _ => assert_eq!(value, other, "{identity} {name}"),
            }
        }
    }
}

/// Output lines by what they are about.
fn by_identity(lines: &[String]) -> BTreeMap<String, serde_json::Value> {
    lines
        .iter()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let part = |name: &str| value.get(name).map(ToString::to_string).unwrap_or_default();
            let parts = ["kind", "rule", "id", "window_end", "mote", "line"].map(part);
            (parts.join(" "), value)
        })
        .collect()
}
