//! The statements and questions that are shipped are weir's own SQL and mean what their first lines say.

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema, UInt32Type};
use arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_engine::sql::plan::{Relations, plan_rule};
use weir_engine::sql::{Statement, parse_statements};

const STREAMS: [(&str, &str); 5] = [
    ("climate", include_str!("../streams/climate.sql")),
    ("device_health", include_str!("../streams/device_health.sql")),
    ("fire", include_str!("../streams/fire.sql")),
    ("gasbio", include_str!("../streams/gasbio.sql")),
    ("occupancy", include_str!("../streams/occupancy.sql")),
];

const RULES: [(&str, &str); 3] = [
    ("evacuation", include_str!("../rules/evacuation.sql")),
    ("floor_hvac", include_str!("../rules/floor_hvac.sql")),
    ("unexpected_occupancy", include_str!("../rules/unexpected_occupancy.sql")),
];

const PEOPLE_IN_ROOM: &str = include_str!("../questions/people_in_room.sql");
const UNOCCUPIED_ROOMS: &str = include_str!("../questions/unoccupied_rooms.sql");
const FIRE_AT_SITE: &str = include_str!("../questions/fire_at_site.sql");
const AIR_QUALITY: &str = include_str!("../questions/air_quality.sql");
const UNIT_TEMPERATURE: &str = include_str!("../questions/unit_temperature.sql");

#[test]
fn every_stream_has_its_name_and_the_levels_of_the_building() {
    let mut templates = Vec::new();
    for (name, text) in STREAMS {
        let statements = parse_statements(text).unwrap_or_else(|error| panic!("{name}\n{error}"));
        let [Statement::CreateStream { definition, .. }] = statements.as_slice() else {
            panic!("{name} is one CREATE STREAM")
        };
        assert_eq!(definition.name(), name);
        assert_eq!(definition.levels(), ["org", "site", "building", "floor", "unit", "room"]);
        templates.push(definition.template().clone());
    }
    for (i, template) in templates.iter().enumerate() {
        assert!(templates[..i].iter().all(|other| !other.overlaps(template)), "{template:?}");
    }
}

#[test]
fn every_rule_raises_an_alarm_of_its_name() {
    for (name, text) in RULES {
        let statements = parse_statements(text).unwrap_or_else(|error| panic!("{name}\n{error}"));
        let Some(Statement::CreateRule(rule)) = statements.last() else {
            panic!("{name} ends with its CREATE RULE")
        };
        assert_eq!(rule.name, name);
        assert!(rule.raise.is_some() && rule.key.is_some(), "{name}");
    }
}

/// The shipped streams and the tables that the shipped rules create.
fn relations() -> Relations {
    let mut relations = Relations { streams: BTreeMap::new(), tables: BTreeMap::new() };
    for (_, text) in STREAMS.iter().chain(&RULES) {
        for statement in parse_statements(text).expect("weir's SQL") {
            match statement {
                Statement::CreateStream { definition, .. } => {
                    relations.streams.insert(definition.name().to_owned(), Arc::new(definition));
                }
                Statement::CreateTable(table) => {
                    let fields: Vec<Field> = table
                        .columns
                        .iter()
                        .map(|c| Field::new(&c.name, c.column_type.data_type(), c.nullable))
                        .collect();
                    relations.tables.insert(table.name, Arc::new(Schema::new(fields)));
                }
                _ => {}
            }
        }
    }
    relations
}

#[test]
fn every_rule_can_be_planned_over_the_shipped_streams() {
    let relations = relations();
    for (name, text) in RULES {
        let statements = parse_statements(text).expect("weir's SQL");
        let Some(Statement::CreateRule(rule)) = statements.last() else { panic!("{name}") };
        let plan = plan_rule(rule, &relations).unwrap_or_else(|error| panic!("{name}\n{error}"));
        assert!(plan.raise.is_some(), "{name}");
    }
}

#[test]
fn every_question_says_what_it_answers_and_names_its_parameters() {
    for text in [PEOPLE_IN_ROOM, UNOCCUPIED_ROOMS, FIRE_AT_SITE, AIR_QUALITY, UNIT_TEMPERATURE] {
        let mut lines = text.lines();
        assert!(lines.next().is_some_and(|line| line.starts_with("-- question: ")), "{text}");
        let parameters = lines.next().and_then(|line| line.strip_prefix("-- parameters: "));
        for parameter in parameters.expect("its parameters").split(", ") {
            let name = parameter.split(' ').next().unwrap_or_default();
            assert!(text.contains(&format!("${name} ")), "{name} is used in\n{text}");
        }
    }
}

/// (floor, unit, room, people, occupied, age in seconds)
type Seen = (&'static str, &'static str, &'static str, Option<i64>, Option<bool>, f64);

const OCCUPANCY: [Seen; 4] = [
    ("3", "j", "1", Some(2), Some(true), 10.0),
    ("3", "j", "2", Some(0), Some(false), 20.0),
    ("3", "j", "3", Some(1), Some(true), 900.0),
    ("3", "j", "4", Some(0), None, 30.0),
];

fn levels(values: impl Iterator<Item = &'static str>) -> ArrayRef {
    Arc::new(values.collect::<DictionaryArray<UInt32Type>>())
}

fn table(columns: Vec<(&str, ArrayRef)>) -> Arc<MemTable> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, values)| (name, values, true)),
    )
    .expect("columns of one length");
    Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("a table"))
}

/// The level columns, topic, time and age of `rooms` (floor, unit, room, age).
fn sensors(
    rooms: &[(&'static str, &'static str, &'static str, f64)],
) -> Vec<(&'static str, ArrayRef)> {
    let n = rooms.len();
    let times = rooms.iter().map(|room| 1_000_000_000_000 - (room.3 * 1e6) as i64);
    vec![
        ("org", levels(std::iter::repeat_n("contoso", n))),
        ("site", levels(std::iter::repeat_n("berlin", n))),
        ("building", levels(std::iter::repeat_n("41", n))),
        ("floor", levels(rooms.iter().map(|room| room.0))),
        ("unit", levels(rooms.iter().map(|room| room.1))),
        ("room", levels(rooms.iter().map(|room| room.2))),
        ("topic", levels(rooms.iter().map(|room| room.2))),
        ("time", Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))),
        ("age", Arc::new(Float64Array::from_iter_values(rooms.iter().map(|room| room.3)))),
    ]
}

/// A session with `latest.occupancy`, `latest.fire` and `latest.climate`.
fn session() -> SessionContext {
    let mut occupancy =
        sensors(&OCCUPANCY.map(|(floor, unit, room, _, _, age)| (floor, unit, room, age)));
    occupancy.push(("people", Arc::new(Int64Array::from(OCCUPANCY.map(|row| row.3).to_vec()))));
    occupancy.push(("occupied", Arc::new(BooleanArray::from(OCCUPANCY.map(|row| row.4).to_vec()))));
    let mut fire = sensors(&[("1", "a", "1", 5.0), ("3", "j", "2", 3.0)]);
    fire.push(("alert", Arc::new(BooleanArray::from(vec![false, true]))));
    let mut climate = sensors(&[("3", "j", "1", 5.0), ("3", "j", "2", 3.0), ("2", "j", "1", 1.0)]);
    climate.push(("temperature", Arc::new(Float64Array::from(vec![20.0, 23.0, 10.0]))));
    climate.push(("humidity", Arc::new(Float64Array::from(vec![40.0, 41.0, 42.0]))));
    climate.push(("co2", Arc::new(Float64Array::from(vec![Some(700.0), Some(1200.0), None]))));
    let latest = MemorySchemaProvider::new();
    for (name, columns) in [("occupancy", occupancy), ("fire", fire), ("climate", climate)] {
        latest.register_table(name.to_owned(), table(columns)).expect("a free name");
    }
    let session = SessionContext::new();
    let catalog = session.catalog("datafusion").expect("the default catalog");
    catalog.register_schema("latest", Arc::new(latest)).expect("a free name");
    session
}

/// Asks a question and returns one line a row: `name=value` of the columns asked for.
fn ask(question: &str, parameters: &[(&str, &str)], columns: &[&str]) -> Vec<String> {
    let mut text = question.to_owned();
    for (name, value) in parameters {
        text = text.replace(&format!("${name} "), &format!("'{value}' "));
    }
    let statements = parse_statements(&text).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(statements.as_slice(), [Statement::Query(_)]));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let batches = runtime
        .block_on(async { session().sql(&text).await?.collect().await })
        .unwrap_or_else(|error| panic!("{text}\n{error}"));
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let named: BTreeMap<&str, String> = columns
                .iter()
                .map(|name| {
                    let values = batch.column_by_name(name).unwrap_or_else(|| {
                        panic!(
                            "no column {name}:\n{}",
                            pretty_format_batches(&batches).expect("a table")
                        )
                    });
                    (*name, shown(values, row))
                })
                .collect();
            rows.push(
                columns
                    .iter()
                    .map(|name| format!("{name}={}", named[name]))
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
    }
    rows
}

fn shown(values: &ArrayRef, row: usize) -> String {
    if values.is_null(row) {
        return "null".to_owned();
    }
    let values = arrow::compute::cast(values, &arrow::datatypes::DataType::Utf8).expect("a text");
    values.as_any().downcast_ref::<StringArray>().expect("a text").value(row).to_owned()
}

#[test]
fn a_room_is_occupied_or_unoccupied_and_a_silent_sensor_makes_it_unknown() {
    for (room, expected) in [
        ("1", "occupancy=occupied people=2 unknown_since=null"),
        ("2", "occupancy=unoccupied people=0 unknown_since=null"),
        ("3", "occupancy=unknown people=null unknown_since=1970-01-12T13:31:40Z"),
        ("4", "occupancy=unoccupied people=0 unknown_since=null"),
        ("never heard of", "occupancy=unknown people=null unknown_since=null"),
    ] {
        let parameters =
            [("building", "41"), ("floor", "3"), ("unit", "J"), ("room", room), ("hold", "180")];
        let rows = ask(PEOPLE_IN_ROOM, &parameters, &["occupancy", "people", "unknown_since"]);
        assert_eq!(rows, [expected], "P11: room {room}");
    }
}

#[test]
fn unoccupied_rooms_are_listed_and_unknown_ones_with_since_when() {
    let rows = ask(
        UNOCCUPIED_ROOMS,
        &[("building", "41"), ("hold", "180")],
        &["room", "occupancy", "unknown_since"],
    );
    assert_eq!(
        rows,
        [
            "room=2 occupancy=unoccupied unknown_since=null",
            "room=3 occupancy=unknown unknown_since=1970-01-12T13:31:40Z",
            "room=4 occupancy=unoccupied unknown_since=null",
        ],
        "P11"
    );
}

#[test]
fn a_fire_at_the_site_is_named_and_a_site_without_sensors_is_unknown() {
    let columns = ["fire", "sensors_in_alert", "sensors", "topics_in_alert"];
    assert_eq!(
        ask(FIRE_AT_SITE, &[("site", "berlin")], &columns),
        ["fire=fire sensors_in_alert=1 sensors=2 topics_in_alert=2"]
    );
    assert_eq!(
        ask(FIRE_AT_SITE, &[("site", "paris")], &columns),
        ["fire=unknown sensors_in_alert=0 sensors=0 topics_in_alert=null"]
    );
}

#[test]
fn air_quality_is_told_room_by_room() {
    assert_eq!(
        ask(AIR_QUALITY, &[("building", "41"), ("floor", "3")], &["room", "air"]),
        ["room=1 air=good", "room=2 air=poor"]
    );
    assert_eq!(
        ask(AIR_QUALITY, &[("building", "41"), ("floor", "2")], &["room", "air"]),
        ["room=1 air=unknown"]
    );
}

#[test]
fn a_unit_is_named_with_or_without_its_floor() {
    let columns = ["floor", "temperature", "coldest_room", "warmest_room", "rooms"];
    let third = "floor=3 temperature=21.5 coldest_room=20.0 warmest_room=23.0 rooms=2";
    let second = "floor=2 temperature=10.0 coldest_room=10.0 warmest_room=10.0 rooms=1";
    for (unit, expected) in [("3J", vec![third]), ("j", vec![second, third]), ("k", vec![])] {
        let rows = ask(UNIT_TEMPERATURE, &[("building", "41"), ("unit", unit)], &columns);
        assert_eq!(rows, expected, "{unit}");
    }
}
