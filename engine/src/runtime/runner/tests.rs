//! A rule over a few readings, as text: `time:room=value` in arrival order.

mod paths;

use super::*;
use crate::alarms::Severity;
use crate::runtime::outputs::MissedWindows;
use crate::sql::plan::{Relations, plan_rule};
use crate::sql::{Statement, parse_statements};
use crate::stream::input::{Lane, Offsets};
use arrow::array::{Float64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use weir_ingest::model::{Offset, PartitionId, SeriesDirectory, SeriesId, partition_of, reading};

const SECOND: i64 = 1_000_000;
const STREAM: &str = "CREATE STREAM climate (temperature DOUBLE) \
     TOPIC '/building/{building}/room/{room}/climate' WITH (partitions = 1, lateness = '0 seconds')";

struct Bench {
    runner: Runner,
    definition: Arc<StreamDefinition>,
    series: SeriesDirectory,
    topics: Vec<String>,
    offsets: Vec<u64>,
    appended: i64,
}

impl Bench {
    fn new(stream: &str, rule: &str) -> Self {
        Self::planned(stream, rule, |plan| plan)
    }

    fn planned(stream: &str, rule: &str, choose: impl Fn(RulePlan) -> RulePlan) -> Self {
        let Some(Statement::CreateStream { definition, .. }) =
            parse_statements(stream).unwrap().pop()
        else {
            panic!("a stream")
        };
        let Some(Statement::CreateRule(rule)) = parse_statements(rule).unwrap().pop() else {
            panic!("a rule")
        };
        let definition = Arc::new(definition);
        let mut relations = Relations::default();
        relations.streams.insert(definition.name().to_owned(), Arc::clone(&definition));
        let plan = plan_rule(&rule, &relations).unwrap_or_else(|e| panic!("{e}"));
        let plan = Arc::new(choose(plan));
        let identity = RuleIdentity {
            name: rule.name.clone(),
            uid: 1,
            version: 1,
            severity: Severity::Medium,
            key_columns: key_columns(&plan),
        };
        let runner = Runner::new(&rule, plan, identity, AppendTime(-1));
        let series = SeriesDirectory::new(definition.template().clone());
        let offsets = vec![0; definition.options().partitions as usize];
        Self { runner, definition, series, topics: Vec::new(), offsets, appended: 0 }
    }

    /// `"3:a=20.5 4:b=21"`: seconds, room, value; several batches separated by `|`.
    fn feed(&mut self, text: &str) -> Outputs {
        let mut all = Outputs::default();
        for batch in text.split('|') {
            let rows: Vec<(i64, &str, Option<f64>)> = batch.split_whitespace().map(parse).collect();
            let rows = self.rows(&rows);
            let mut out = self.runner.step(&Input::Rows(rows)).unwrap();
            all.transitions.extend(out.told());
            all.late.extend(out.late);
            all.errors.extend(out.errors);
        }
        all
    }

    fn rows(&mut self, rows: &[(i64, &str, Option<f64>)]) -> Rows {
        let (mut series, mut partitions, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
        for (_, room, _) in rows {
            let topic = format!("/building/41/room/{room}/climate");
            let id = self.topics.iter().position(|t| *t == topic).unwrap_or_else(|| {
                let id = self.topics.len();
                self.series.push(SeriesId(id as u32), topic.as_str().into());
                self.topics.push(topic.clone());
                id
            });
            let partition = partition_of(&topic, self.offsets.len() as u32);
            series.push(id as u32);
            partitions.push(partition);
            offsets.push(self.offsets[partition as usize]);
            self.offsets[partition as usize] += 1;
        }
        let times = rows.iter().map(|(time, _, _)| time * SECOND).collect::<Vec<_>>();
        let appends: Vec<i64> = (0..rows.len() as i64).map(|i| self.appended + i).collect();
        self.appended += rows.len() as i64;
        let batch = RecordBatch::try_new(
            reading::stored_schema(&self.definition, reading::Hidden::default()),
            vec![
                Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
                Arc::new(UInt32Array::from(series)),
                Arc::new(rows.iter().map(|(_, _, v)| *v).collect::<Float64Array>()),
            ],
        )
        .unwrap();
        let partitions = match self.offsets.len() {
            1 => Lane::Same(0),
            _ => Lane::Each(partitions.into()),
        };
        Rows {
            stream: 0,
            batch,
            definition: Arc::clone(&self.definition),
            series: self.series.snapshot(),
            partitions,
            offsets: Offsets::Each(offsets.into()),
            append_times: Lane::Each(appends.into()),
        }
    }
}

fn parse(word: &str) -> (i64, &str, Option<f64>) {
    let (time, rest) = word.split_once(':').unwrap();
    let (room, value) = rest.split_once('=').unwrap();
    (time.parse().unwrap(), room, value.parse().ok())
}

fn told(out: &Outputs) -> Vec<String> {
    let seconds = |time: EventTime| time.0 / SECOND;
    let key = |t: &Transition| joined(&t.key);
    out.transitions
        .iter()
        .map(|t| format!("{}s {} {} {}", seconds(t.event_time), key(t), t.kind, t.values))
        .collect()
}

fn joined(key: &crate::alarms::Key) -> String {
    let values = key.values();
    values.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join("/")
}

const AVERAGE: &str = "CREATE RULE warm AS SELECT building, window_end, avg(temperature) AS t \
     FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) \
     GROUP BY building, window_start, window_end";

#[test]
fn a_window_is_emitted_when_event_time_passes_its_end_however_rows_are_cut() {
    let expected = [
        r#"60s 41 row {"building":"41","window_end":"1970-01-01T00:01:00Z","t":21.0}"#,
        r#"120s 41 row {"building":"41","window_end":"1970-01-01T00:02:00Z","t":30.0}"#,
    ];
    for text in [
        "1:a=20 2:b=22 61:a=30 121:a=1",
        "1:a=20|2:b=22|61:a=30|121:a=1",
        "1:a=20 2:b=22|61:a=30 121:a=1",
    ] {
        let out = Bench::new(STREAM, AVERAGE).feed(text);
        assert_eq!(told(&out), expected, "{text}");
        let appended: Vec<i64> = out.transitions.iter().map(|t| t.append_time.0).collect();
        assert_eq!(appended, [2, 3], "the row that closed the window, {text}");
    }
}

#[test]
fn a_late_reading_is_listed_and_never_merged() {
    let mut bench = Bench::new(STREAM, AVERAGE);
    let out = bench.feed("1:a=20 61:a=30 2:b=99 121:a=1");
    assert_eq!(out.late.len(), 1);
    assert_eq!(out.late[0].reading.topic, "/building/41/room/b/climate");
    let last_end = EventTime(60 * SECOND);
    assert_eq!(out.late[0].missed, Some(MissedWindows { count: 1, last_end }));
    assert!(told(&out)[0].contains(r#""t":20.0"#), "{:?}", told(&out));
}

#[test]
fn an_alarm_is_raised_for_a_while_and_cleared() {
    let rule = "CREATE RULE warm RAISE WHEN t > 25 FOR INTERVAL '1' MINUTE CLEAR WHEN t < 22 AS \
         SELECT building, avg(temperature) AS t \
         FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) \
         GROUP BY building, window_start, window_end";
    let out = Bench::new(STREAM, rule).feed("1:a=26 61:a=27 121:a=24 181:a=20 241:a=1");
    let kinds: Vec<_> =
        out.transitions.iter().map(|t| (t.event_time.0 / SECOND, t.kind.as_str())).collect();
    assert_eq!(kinds, [(120, "raised"), (240, "cleared")]);
    assert_eq!(out.transitions[0].subject, "/building/41");
}

#[test]
fn a_reading_raises_at_once_and_joins_its_key() {
    let rule = "CREATE RULE hot KEY (building) RAISE WHEN temperature > 60 AS \
         SELECT building, room, temperature FROM climate";
    let out = Bench::new(STREAM, rule).feed("1:a=70 2:b=80|3:a=20 4:b=20");
    let kinds: Vec<_> = out.transitions.iter().map(|t| t.kind.as_str()).collect();
    assert_eq!(kinds, ["raised", "member_added", "cleared"]);
}

#[test]
fn a_reading_that_comes_late_may_raise_but_never_clears() {
    let rule =
        "CREATE RULE hot RAISE WHEN temperature > 60 AS SELECT topic, temperature FROM climate";
    let out = Bench::new(STREAM, rule).feed("10:a=70 5:a=20 11:a=20 3:a=90");
    let kinds: Vec<_> = out.transitions.iter().map(|t| (t.kind.as_str(), t.late)).collect();
    let expected = [("raised", false), ("cleared", false), ("superseded", true), ("raised", true)];
    assert_eq!(kinds, expected);
}

#[test]
fn a_key_that_is_null_is_another_alarm_than_the_text_null() {
    let rule = "CREATE RULE hot KEY (who) RAISE WHEN temperature > 60 AS SELECT \
         CASE room WHEN 'a' THEN NULL WHEN 'b' THEN 'null' ELSE room END AS who, temperature \
         FROM climate";
    let out = Bench::new(STREAM, rule).feed("1:a=70 2:b=70 3:a=20 4:b=20");
    let told: Vec<_> =
        out.transitions.iter().map(|t| format!("{} {}", t.key.to_json(), t.kind)).collect();
    let (null, text) = (r#"{"who":null}"#, r#"{"who":"null"}"#);
    let expected = [(null, "raised"), (text, "raised"), (null, "cleared"), (text, "cleared")];
    assert_eq!(told, expected.map(|(key, kind)| format!("{key} {kind}")));
    assert_eq!(out.transitions[0].subject, "/rules/hot");
}

#[test]
fn a_window_s_group_that_is_null_is_a_key_of_its_own() {
    let rule = "CREATE RULE warm RAISE WHEN t > 60 AS SELECT who, avg(temperature) AS t FROM \
         TUMBLE((SELECT *, CASE room WHEN 'a' THEN NULL ELSE 'null' END AS who FROM climate), \
         DESCRIPTOR(time), size => INTERVAL '1' MINUTE) GROUP BY who, window_start, window_end";
    let out = Bench::new(STREAM, rule).feed("1:a=70 2:b=70 61:a=20 121:a=1");
    let told: Vec<_> =
        out.transitions.iter().map(|t| format!("{} {}", joined(&t.key), t.kind)).collect();
    assert_eq!(told, ["NULL raised", "null raised", "NULL cleared"]);
}

#[test]
fn a_failing_row_is_listed_and_leaves_the_others_alone() {
    let rule = "CREATE RULE ratio RAISE WHEN r > 1 AS \
         SELECT topic, 100 / CAST(temperature AS BIGINT) AS r FROM climate";
    let out = Bench::new(STREAM, rule).feed("1:a=0 2:b=10 3:a=20");
    assert_eq!(out.errors.len(), 1, "{:?}", out.errors);
    assert_eq!(out.errors[0].reading.as_ref().unwrap().offset, Offset(0));
    assert_eq!(out.errors[0].reading.as_ref().unwrap().partition, PartitionId(0));
    assert_eq!(out.transitions.len(), 2);
}

#[test]
fn a_reading_kept_by_its_sender_while_the_doors_were_shut_makes_nobody_silent() {
    let rule = "CREATE RULE silent ON NO DATA FOR INTERVAL '15' MINUTE RAISE \
         RAISE WHEN temperature > 60 AS SELECT topic, temperature FROM climate";
    let mut bench = Bench::new(STREAM, rule);
    assert_eq!(told(&bench.feed("1:a=20 2:b=20")).len(), 0);
    let shut = Input::Restart {
        stream: 0,
        partition: PartitionId(0),
        down_from: AppendTime(3 * SECOND),
        appended: AppendTime(3603 * SECOND),
    };
    bench.runner.step(&shut).unwrap();
    // The first reading is of the time in between; the next one is live again.
    assert_eq!(told(&bench.feed("600:a=20 3610:a=20 3640:a=20")).len(), 0);
    // The sensor that stays silent is told 15 minutes after the doors opened.
    let out = bench.feed("4510:a=20");
    let told: Vec<_> = out
        .transitions
        .iter()
        .map(|t| (t.event_time.0 / SECOND, joined(&t.key), t.reason.clone()))
        .collect();
    let silent = "/building/41/room/b/climate".to_owned();
    assert_eq!(told, [(4503, silent, Some("no_data".to_owned()))]);
}

#[test]
fn windows_that_a_gap_of_the_log_may_have_touched_are_incomplete() {
    let rule = "CREATE RULE counts AS SELECT count(*) AS n \
         FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) \
         GROUP BY window_start, window_end";
    let mut bench = Bench::new(STREAM, rule);
    let gap = |appended| Input::Gap { stream: 0, partition: PartitionId(0), appended };
    let mut out = bench.feed("10:a=1 70:a=1 130:a=1");
    bench.runner.step(&gap(AppendTime(bench.appended))).unwrap();
    bench.appended += 1;
    let rest = bench.feed("200:a=1 250:a=1 310:a=1");
    out.transitions.extend(rest.transitions);
    let told = out.transitions.iter().map(|row| {
        (row.event_time.0 / SECOND, row.receipt.as_ref().is_some_and(|receipt| receipt.incomplete))
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(60, false), (120, false), (180, true), (240, true), (300, false)]
    );
}

#[test]
fn what_cannot_be_evaluated_batch_by_batch_is_refused_with_a_sentence() {
    for (rule, sentence) in [
        (
            "SELECT building, avg(temperature) FROM climate GROUP BY building",
            "GROUP BY lacks window_start",
        ),
        ("SELECT temperatur FROM climate", "temperatur"),
        ("SELECT temperature FROM climate ORDER BY time", "ORDER BY"),
        (
            "SELECT a.temperature FROM climate a JOIN climate b ON a.topic = b.topic",
            "joins of two streams",
        ),
        (
            "SELECT window_end FROM TUMBEL(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)",
            "TUMBLE",
        ),
    ] {
        let Some(Statement::CreateStream { definition, .. }) =
            parse_statements(STREAM).unwrap().pop()
        else {
            panic!("a stream")
        };
        let mut relations = Relations::default();
        relations.streams.insert("climate".to_owned(), Arc::new(definition));
        let parsed = parse_statements(&format!("CREATE RULE r AS {rule}"));
        let error = match parsed {
            Err(error) => error,
            Ok(mut statements) => match statements.pop() {
                Some(Statement::CreateRule(rule)) => plan_rule(&rule, &relations).unwrap_err(),
                other => panic!("{other:?}"),
            },
        };
        assert!(error.to_string().contains(sentence), "{rule}: {error}");
    }
}
