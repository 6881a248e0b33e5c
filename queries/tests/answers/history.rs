//! A stream's name is its history: durable rows, pruned by the segments' time spans.

use crate::building::{Building, HOUR_US, MIDNIGHT_US};

/// A day of two rooms, a reading every 10 seconds, published hour by hour.
fn day() -> Building {
    let building = Building::new();
    for hour in 0..24 {
        let rows: Vec<String> = (0..360)
            .flat_map(|n| {
                let at = MIDNIGHT_US + hour * HOUR_US + n * 10_000_000;
                ["1", "2"].map(|room| Building::reading(room, at, f64::from(n as i32), None))
            })
            .collect();
        building.publish(&rows);
    }
    building
}

/// The sum of `name=<n>` over a plan.
fn metric(plan: &str, name: &str) -> usize {
    let key = format!("{name}=");
    plan.split(&key)
        .skip(1)
        .map(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<usize>().unwrap()
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_over_one_hour_reads_only_the_segments_that_overlap() {
    let building = day();
    let hour = "SELECT count(*) AS n, min(time) AS first, max(time) AS last FROM climate \
        WHERE time >= '2026-03-02T05:00:00Z' AND time < '2026-03-02T06:00:00Z'";
    building
        .check(
            hour,
            "
+-----+----------------------+----------------------+
| n   | first                | last                 |
+-----+----------------------+----------------------+
| 720 | 2026-03-02T05:00:00Z | 2026-03-02T05:59:50Z |
+-----+----------------------+----------------------+
",
        )
        .await;
    let segments: usize = building
        .log
        .streams()
        .get("climate")
        .unwrap()
        .partitions()
        .iter()
        .map(|partition| {
            partition.segments().iter().filter(|s| s.end_offset > s.base_offset).count()
        })
        .sum();
    let plan = building.ask(&format!("EXPLAIN ANALYZE {hour}")).await;
    let (read, pruned) = (metric(&plan, "segments_read"), metric(&plan, "segments_pruned"));
    assert_eq!(read + pruned, segments, "{plan}");
    assert!(segments >= 20 && read <= segments / 4, "{read} of {segments}\n{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_condition_on_time_every_row_is_there_once() {
    let building = day();
    building
        .check(
            "SELECT count(*) AS n, count(DISTINCT \"offset\") AS offsets FROM climate GROUP BY topic",
            "
+------+---------+
| n    | offsets |
+------+---------+
| 8640 | 8640    |
| 8640 | 8640    |
+------+---------+
",
        )
        .await;
    building
        .check(
            "SELECT count(*) AS n FROM climate",
            "
+-------+
| n     |
+-------+
| 17280 |
+-------+
",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_are_columns_and_one_row_can_be_asked_for() {
    let building = Building::new();
    building.publish(&[Building::reading("1", MIDNIGHT_US, 20.5, Some(400.0))]);
    building
        .check(
            "SELECT building, room, temperature, co2, source_time, publisher FROM climate LIMIT 1",
            "
+----------+------+-------------+-------+-------------+-----------+
| building | room | temperature | co2   | source_time | publisher |
+----------+------+-------------+-------+-------------+-----------+
| 41       | 1    | 20.5        | 400.0 |             | anonymous |
+----------+------+-------------+-------+-------------+-----------+
",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_stream_is_a_table_at_once_and_a_typo_is_pointed_at() {
    let building = Building::new();
    let pumps = "CREATE STREAM pumps (running BOOLEAN) TOPIC '/pump/{pump}'";
    assert!(building.ask(pumps).await.contains("stream 'pumps' is there"));
    building.rows("SELECT running FROM pumps").await.unwrap();
    building.rows("SELECT running, age FROM latest.pumps").await.unwrap();
    let error = building.refused("SELECT temprature\nFROM climate").await.to_string();
    assert!(error.contains("there is no column 'temprature'"), "{error}");
    assert!(error.contains("did you mean 'temperature'?"), "{error}");
    assert!(error.contains("line 1, column 8"), "{error}");
    let error = building.refused("SELECT 1 FROM klimate").await.to_string();
    assert!(error.contains("there is no stream or table 'klimate'"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_describes_itself() {
    let building = day();
    let streams = building.ask("SHOW STREAMS").await;
    assert!(streams.contains("/building/{building}/room/{room}/climate"), "{streams}");
    let sums = "SELECT sum(durable_end) AS rows, count(*) AS partitions FROM system.partitions \
        WHERE stream NOT LIKE 'internal/%'";
    building
        .check(
            sums,
            "
+-------+------------+
| rows  | partitions |
+-------+------------+
| 17280 | 2          |
+-------+------------+
",
        )
        .await;
    let series = building.ask("SELECT topic FROM system.series ORDER BY topic").await;
    assert!(series.contains("/building/41/room/2/climate"), "{series}");
    for table in [
        "system.segments",
        "system.tables",
        "system.rules",
        "system.watermarks",
        "system.subscriptions",
        "alarms",
        "alarm_history",
        "late_readings",
        "dead_letters",
        "deliveries",
        "rule_errors",
        "rule_rows",
        "information_schema.tables",
    ] {
        building.rows(&format!("SELECT * FROM {table}")).await.unwrap();
    }
}
