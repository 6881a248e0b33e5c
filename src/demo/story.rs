//! The evening's incidents: when each happens, in the building's time, and what is told about it.

use super::building::{Building, Kind, reading};
use serde_json::{Value, json};

const SECOND_US: i64 = 1_000_000;
const FIVE_YEARS_US: i64 = 5 * 365 * 86_400 * SECOND_US;

/// What an incident sends besides what the sensors say.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// One line, sent as it is.
    pub(super) line: Option<String>,
}

/// One incident.
pub(super) struct Incident {
    /// Seconds of the building's time after the start.
    pub(super) after_s: i64,
    /// What is told.
    pub(super) text: &'static str,
    /// What happens.
    pub(super) happen: fn(&mut Building, i64) -> Extra,
}

impl std::fmt::Debug for Incident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incident")
            .field("after_s", &self.after_s)
            .field("text", &self.text)
            .finish()
    }
}

/// The story, in order. At the default speed of 30 the first ten minutes take 20 seconds.
pub(super) const STORY: [Incident; 12] = [
    Incident {
        after_s: 45,
        text: "the heating of floor 2 fails: it loses 3 °C a minute",
        happen: |building, _| {
            building.heat(2, -3.0);
            Extra::default()
        },
    },
    Incident {
        after_s: 75,
        text: "the occupancy sensor of room 2H/3 falls silent",
        happen: |building, _| {
            building.silence("2H/3");
            Extra::default()
        },
    },
    Incident {
        after_s: 105,
        text: "two people are in room 3J/4, after closing time",
        happen: |building, _| {
            building.people("3J/4", 2);
            Extra::default()
        },
    },
    Incident {
        after_s: 150,
        text: "smoke in room 4H/2: its fire sensor goes into alert",
        happen: |building, _| {
            building.fire("4H/2", true);
            Extra::default()
        },
    },
    Incident {
        after_s: 195,
        text: "a gateway sends half a reading",
        happen: |building, now| {
            let whole = at(building, "5J/1", Kind::Climate, now, json!({ "temperature": 20.1 }));
            let text = whole.to_string();
            Extra { line: Some(text[..text.len() - 6].to_owned()) }
        },
    },
    Incident {
        after_s: 240,
        text: "a climate sensor's clock is five years ahead",
        happen: |building, now| {
            let data = json!({ "temperature": 20.3 });
            let reading = at(building, "5H/2", Kind::Climate, now + FIVE_YEARS_US, data);
            Extra { line: Some(reading.to_string()) }
        },
    },
    Incident {
        after_s: 285,
        text: "so is a fire sensor's in room 4H/3, and it is in alert: an alert is an alert",
        happen: |building, now| {
            let data = json!({ "alert": true, "smoke": 3.9 });
            let reading = at(building, "4H/3", Kind::Fire, now + FIVE_YEARS_US, data);
            building.fire("4H/3", true);
            Extra { line: Some(reading.to_string()) }
        },
    },
    Incident {
        after_s: 420,
        text: "the people leave room 3J/4",
        happen: |building, _| {
            building.people("3J/4", 0);
            Extra::default()
        },
    },
    Incident {
        after_s: 480,
        text: "the fire brigade has been: no more smoke in 4H/2 and 4H/3",
        happen: |building, _| {
            building.fire("4H/2", false);
            building.fire("4H/3", false);
            Extra::default()
        },
    },
    Incident {
        after_s: 540,
        text: "the heating of floor 2 works again: 4 °C a minute",
        happen: |building, _| {
            building.heat(2, 4.0);
            Extra::default()
        },
    },
    Incident {
        after_s: 1_500,
        text: "people are back in room 3J/4",
        happen: |building, _| {
            building.people("3J/4", 1);
            Extra::default()
        },
    },
    Incident {
        after_s: 3_000,
        text: "and leave again",
        happen: |building, _| {
            building.people("3J/4", 0);
            Extra::default()
        },
    },
];

fn at(building: &Building, room: &str, kind: Kind, time_us: i64, data: Value) -> Value {
    reading(&building.topic(room, kind), time_us, data)
}
