//! `latest.<stream>`: the newest reading of each series, and how old it is.

use crate::building::{Building, HOUR_US, MIDNIGHT_US};
use std::time::Duration;
use weir_ingest::model::{Column, ColumnType};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_question_asked_again_sees_new_readings_new_rooms_and_new_columns() {
    let building = Building::new();
    let question = "SELECT * FROM latest.climate WHERE room IN ('1', '9') AND topic LIKE '%climate' \
         ORDER BY room";
    let rooms =
        "SELECT room, temperature FROM latest.climate WHERE room IN ('1', '9') ORDER BY room";
    building.publish(&[Building::reading("1", MIDNIGHT_US, 20.0, None)]);
    for _ in 0..2 {
        assert!(!building.ask(question).await.contains("humidity"));
        building.ask(rooms).await;
    }
    building.publish(&[
        Building::reading("1", MIDNIGHT_US + 1, 21.0, None),
        Building::reading("2", MIDNIGHT_US, 5.0, None),
        Building::reading("9", MIDNIGHT_US, 22.0, None),
    ]);
    building
        .check(
            rooms,
            "
+------+-------------+
| room | temperature |
+------+-------------+
| 1    | 21.0        |
| 9    | 22.0        |
+------+-------------+
",
        )
        .await;
    let humidity =
        Column { name: "humidity".to_owned(), column_type: ColumnType::Double, unit: None };
    building.log.add_column("climate", humidity).unwrap();
    assert!(building.ask(question).await.contains("humidity"));
    building.log.drop_stream("climate").unwrap();
    building.refused(question).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_needs_no_rows_knows_new_columns_and_dropped_streams_when_it_is_asked_again()
 {
    let building = Building::new();
    let questions = [
        "SELECT * FROM latest.climate LIMIT 0",
        "SELECT * FROM latest.climate WHERE false",
        "SELECT * FROM climate LIMIT 0",
    ];
    for question in questions {
        assert!(building.columns(question).await.iter().all(|name| name != "humidity"));
    }
    let humidity =
        Column { name: "humidity".to_owned(), column_type: ColumnType::Double, unit: None };
    building.log.add_column("climate", humidity).unwrap();
    for question in questions {
        let columns = building.columns(question).await;
        assert!(columns.iter().any(|name| name == "humidity"), "{question}: {columns:?}");
    }
    building.log.drop_stream("climate").unwrap();
    for question in questions {
        building.refused(question).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_asked_again_with_other_values_or_by_several_at_once_is_answered_each_time() {
    let building = Building::new();
    let text = "SELECT room, temperature FROM latest.climate WHERE room = $room ORDER BY room";
    for round in 0..3 {
        let readings: Vec<_> = (0..4)
            .map(|room| {
                let at = MIDNIGHT_US + i64::from(round);
                Building::reading(&room.to_string(), at, f64::from(10 * round + room), None)
            })
            .collect();
        building.publish(&readings);
        let asked = (0..12).map(|n| {
            let (building, room) = (&building, n % 4);
            async move {
                let values = serde_json::json!({"room": room.to_string()});
                let got = building.ask_with(text, values).await;
                let temperature = f64::from(10 * round + room);
                assert!(got.contains(&format!("| {room}    | {temperature:.1} ")), "{got}");
                assert_eq!(got.matches(".0 ").count(), 1, "{got}");
            }
        });
        futures::future::join_all(asked).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn now_is_when_a_question_is_asked_however_often_it_was_asked_before() {
    let building = Building::new();
    building.publish(&[Building::reading("1", MIDNIGHT_US + 24 * HOUR_US, 20.0, None)]);
    let question =
        "SELECT CAST(extract(epoch FROM now() - time) AS BIGINT) AS ago, age FROM latest.climate";
    for seconds in [0, 30, 60] {
        let got = building.ask(question).await;
        assert!(got.contains(&format!("| {seconds:<3} | {seconds}.0")), "{got}");
        building.clock.advance(Duration::from_secs(30));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_on_a_level_that_fails_is_refused_with_its_text() {
    let building = Building::new();
    building.publish(&[Building::reading("1", MIDNIGHT_US, 20.0, None)]);
    let question = "SELECT room FROM latest.climate WHERE CAST(room AS INT) = 1";
    assert!(building.ask(question).await.contains("| 1    |"));
    building.publish(&[Building::reading("attic", MIDNIGHT_US, 20.0, None)]);
    let refused = building.refused(question).await.to_string();
    assert!(refused.contains("attic"), "{refused}");
}
