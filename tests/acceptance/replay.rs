//! `weir replay`: the same file gives the same output, however it is cut and restarted (S3).

use crate::harness::weir;
use crate::real::{fixture, sets};
use std::collections::BTreeMap;
use std::path::PathBuf;

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
    name: String,
    directory: tempfile::TempDir,
    define: PathBuf,
    input: PathBuf,
    readings: usize,
}

impl Case {
    /// The motes and the offices: the committed excerpts, and all readings where they are at hand.
    fn all() -> Vec<Self> {
        let motes = fixture("wsn_rule.sql") + WINDOWED;
        let offices = fixture("b4b.sql");
        let of = |set: &str, define: &str| -> Vec<Self> {
            let cases = sets(set).into_iter();
            cases.map(|(which, text)| Self::new(&format!("{set} {which}"), define, &text)).collect()
        };
        let mut all = of("wsn_multihop_labelled", &motes);
        all.extend(of("b4b_windesheim", &offices));
        all
    }

    fn new(name: &str, define_text: &str, readings: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let define = directory.path().join("define.sql");
        let input = directory.path().join("readings.ndjson");
        std::fs::write(&define, define_text).expect("scratch");
        std::fs::write(&input, readings).expect("scratch");
        Self { name: name.to_owned(), directory, define, input, readings: readings.lines().count() }
    }

    /// Until there are checkpoints a restart begins at the first reading: on a long file they are
    /// rarer, so that the time does not grow with the square of its length.
    fn restart_every(&self) -> &'static str {
        if self.readings > 100_000 { "50000" } else { "1000" }
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
    for case in Case::all() {
        let name = &case.name;
        let reference = case.replay(&["--partitions", "4"]);
        assert!(reference.0.iter().any(|line| line.contains("\"raised\"")), "{name}: raised");
        for options in [
            ["--batch", "1"].as_slice(),
            &["--batch", "7"],
            &["--batch", "8192"],
            &["--restart-every", case.restart_every()],
            &["--restart-every", case.restart_every(), "--batch", "7"],
        ] {
            let options: Vec<&str> = ["--partitions", "4"].iter().chain(options).copied().collect();
            let other = case.replay(&options);
            assert_eq!(other.1, reference.1, "S3: {name} {options:?}");
            assert!(other.0 == reference.0, "S3: {name} {options:?}: other lines came out");
        }
    }
}

#[test]
fn one_partition_and_four_give_the_same_rows_and_transitions() {
    for case in Case::all() {
        let one = case.replay(&["--partitions", "1", "--flush"]);
        let four = case.replay(&["--partitions", "4", "--flush"]);
        let name = &case.name;
        assert_eq!((&one.1["late"], &four.1["late"]), (&0.into(), &0.into()), "{name}: late: 0");
        let (one, four) = (by_identity(&one.0), by_identity(&four.0));
        assert!(one.values().any(|line| line["state"] == "raised"), "{name}: something was raised");
        assert_eq!(one.keys().collect::<Vec<_>>(), four.keys().collect::<Vec<_>>(), "{name}");
        for (identity, a) in &one {
            for (column, value) in a.as_object().expect("an object") {
                let other = &four[identity][column];
                match (value.as_f64(), other.as_f64()) {
                    (Some(a), Some(b)) => {
                        let close = (a - b).abs() <= 1e-9 * a.abs().max(1.0);
                        assert!(close, "{name} {identity} {column}: {a} {b}");
                    }
                    _ => assert_eq!(value, other, "{name} {identity} {column}"),
                }
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
