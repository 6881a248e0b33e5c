//! `latest.<stream>`: the newest reading of each series, and how old it is.

use crate::building::{Building, HOUR_US, MIDNIGHT_US};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_reading_is_in_the_next_answer() {
    let building = Building::new();
    for n in 0..20 {
        let temperature = f64::from(n);
        let at = MIDNIGHT_US + i64::from(n) * 1_000_000;
        building.publish(&[Building::reading("1", at, temperature, None)]);
        let got = building.ask("SELECT temperature FROM latest.climate").await;
        assert!(got.contains(&format!("| {temperature:.1} ")), "{got}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn age_counts_from_the_event_time_by_the_logs_clock() {
    let building = Building::new();
    building.publish(&[
        Building::reading("1", MIDNIGHT_US + 23 * HOUR_US, 20.0, None),
        Building::reading("2", MIDNIGHT_US + 24 * HOUR_US, 21.0, Some(700.0)),
        Building::reading("1", MIDNIGHT_US + 22 * HOUR_US, 19.0, Some(900.0)),
    ]);
    building.clock.advance(Duration::from_secs(30));
    building
        .check(
            "SELECT room, temperature, co2, age, \
             extract(epoch FROM now() - time) AS by_now FROM latest.climate ORDER BY room",
            "
+------+-------------+-------+--------+--------+
| room | temperature | co2   | age    | by_now |
+------+-------------+-------+--------+--------+
| 1    | 20.0        |       | 3630.0 | 3630.0 |
| 2    | 21.0        | 700.0 | 30.0   | 30.0   |
+------+-------------+-------+--------+--------+
",
        )
        .await;
}
