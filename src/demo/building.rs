//! The simulated building: what its sensors would say at an instant of its own time.
//!
//! Promise: a function of the seed and of the incidents so far; no clock is read here.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// Floors of building 41.
pub(super) const FLOORS: u32 = 5;
const UNITS: [&str; 2] = ["h", "j"];
const ROOMS: u32 = 4;
const SECOND_US: i64 = 1_000_000;
/// Temperature the heating holds.
const COMFORT: f64 = 20.0;

/// What a sensor measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Climate,
    Occupancy,
    Fire,
    GasBio,
    Health,
}

impl Kind {
    /// The last levels of its topic path.
    fn path(self) -> &'static str {
        match self {
            Self::Climate => "sensors/climate",
            Self::Occupancy => "sensors/occupancy",
            Self::Fire => "sensors/fire",
            Self::GasBio => "sensors/gasbio",
            Self::Health => "sensors/device_health",
        }
    }

    fn interval_s(self) -> i64 {
        match self {
            Self::Health | Self::Occupancy => 60,
            _ => 10,
        }
    }
}

/// One sensor.
#[derive(Debug)]
struct Sensor {
    kind: Kind,
    room: usize,
    topic: String,
    next_us: i64,
}

/// What is the case in one room.
#[derive(Debug, Default)]
struct Room {
    floor: usize,
    name: String,
    people: u32,
    fire: bool,
    occupancy_silent: bool,
}

/// The building.
#[derive(Debug)]
pub(super) struct Building {
    rooms: Vec<Room>,
    sensors: Vec<Sensor>,
    /// Temperature of each floor, and how it changes in a minute.
    temperature: [f64; FLOORS as usize],
    drift: [f64; FLOORS as usize],
    updated_us: i64,
    random: StdRng,
}

/// Path of a room: the topic of a sensor begins with it.
fn room_path(floor: u32, unit: &str, room: u32) -> String {
    format!("/org/contoso/site/berlin/building/41/floor/{floor}/unit/{unit}/room/{room}")
}

impl Building {
    /// An evening without incidents, from `start_us` on.
    pub(super) fn new(seed: u64, start_us: i64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut rooms = Vec::new();
        let mut sensors = Vec::new();
        for floor in 1..=FLOORS {
            for unit in UNITS {
                for room in 1..=ROOMS {
                    let path = room_path(floor, unit, room);
                    let kinds = [Kind::Climate, Kind::Occupancy, Kind::Fire, Kind::Health];
                    let lab = (floor == 2).then_some(Kind::GasBio);
                    for kind in kinds.into_iter().chain(lab) {
                        // Sensors are not in step: each has its place in the interval.
                        let phase = random.random_range(0..kind.interval_s() * 10) * SECOND_US / 10;
                        let topic = format!("{path}/{}", kind.path());
                        sensors.push(Sensor {
                            kind,
                            room: rooms.len(),
                            topic,
                            next_us: start_us + phase,
                        });
                    }
                    let late_workers = u32::from(floor == 1 && unit == "h" && room == 1) * 2;
                    rooms.push(Room {
                        floor: floor as usize - 1,
                        name: format!("{floor}{}/{room}", unit.to_uppercase()),
                        people: late_workers,
                        ..Room::default()
                    });
                }
            }
        }
        let temperature = [COMFORT; FLOORS as usize];
        let drift = [0.0; FLOORS as usize];
        Self { rooms, sensors, temperature, drift, updated_us: start_us, random }
    }

    /// Number of rooms and of sensors.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.rooms.len(), self.sensors.len())
    }

    /// Topic of a sensor; the room is named as people say it: `3J/4`.
    pub(super) fn topic(&self, room: &str, kind: Kind) -> String {
        let found = self.sensors.iter().find(|s| s.kind == kind && self.rooms[s.room].name == room);
        found.map(|sensor| sensor.topic.clone()).expect("the story names rooms that are there")
    }

    /// The readings that fall due up to `now_us`, as JSON, in time order.
    pub(super) fn readings(&mut self, now_us: i64) -> Vec<Value> {
        self.advance(now_us);
        let mut due = Vec::new();
        for at in 0..self.sensors.len() {
            while self.sensors[at].next_us <= now_us {
                let time_us = self.sensors[at].next_us;
                self.sensors[at].next_us += self.sensors[at].kind.interval_s() * SECOND_US;
                if let Some(data) = self.measure(at) {
                    due.push((time_us, reading(&self.sensors[at].topic, time_us, data)));
                }
            }
        }
        due.sort_by_key(|(time_us, _)| *time_us);
        due.into_iter().map(|(_, reading)| reading).collect()
    }

    fn advance(&mut self, now_us: i64) {
        let minutes = (now_us - self.updated_us).max(0) as f64 / 60e6;
        self.updated_us = now_us;
        for (temperature, drift) in self.temperature.iter_mut().zip(self.drift) {
            *temperature = (*temperature + drift * minutes).clamp(14.0, COMFORT);
        }
    }

    /// What the sensor says now; `None` if it is silent.
    fn measure(&mut self, sensor: usize) -> Option<Value> {
        let Sensor { kind, room, .. } = self.sensors[sensor];
        let noise = self.random.random_range(-0.15..0.15);
        let room = &self.rooms[room];
        let people = f64::from(room.people);
        Some(match kind {
            Kind::Climate => json!({
                "temperature": round(self.temperature[room.floor] + noise + 0.1 * people),
                "humidity": round(43.0 + 4.0 * noise),
                "co2": (430.0 + 120.0 * people + 60.0 * noise).round(),
            }),
            Kind::Occupancy if room.occupancy_silent => return None,
            Kind::Occupancy => json!({ "people": room.people, "occupied": room.people > 0 }),
            Kind::Fire => json!({
                "alert": room.fire,
                "smoke": round(if room.fire { 4.2 + noise } else { 0.02 }),
                "heat": round(self.temperature[room.floor] + if room.fire { 31.0 } else { 0.0 }),
            }),
            Kind::GasBio => json!({ "alert": false, "gas": round(0.5 + noise) }),
            Kind::Health => json!({
                "battery": round(87.0 + noise),
                "temperature": round(24.0 + noise),
                "vibration": round(noise.abs()),
                "firmware": "2.4.1",
                "uptime": 1_209_600 + self.updated_us / 60 / SECOND_US % 1000 * 60,
            }),
        })
    }

    fn room(&mut self, name: &str) -> &mut Room {
        self.rooms
            .iter_mut()
            .find(|room| room.name == name)
            .expect("the story names rooms that are there")
    }

    /// The heating of a floor (from 1) changes its temperature by `drift` °C a minute.
    pub(super) fn heat(&mut self, floor: usize, drift: f64) {
        self.drift[floor - 1] = drift;
    }

    /// The fire sensor of a room goes into alert, or out of it.
    pub(super) fn fire(&mut self, room: &str, alert: bool) {
        self.room(room).fire = alert;
    }

    /// People enter or leave.
    pub(super) fn people(&mut self, room: &str, people: u32) {
        self.room(room).people = people;
    }

    /// The occupancy sensor of a room falls silent.
    pub(super) fn silence(&mut self, room: &str) {
        self.room(room).occupancy_silent = true;
    }
}

/// One reading as the doors take it.
pub(super) fn reading(topic: &str, time_us: i64, data: Value) -> Value {
    json!({ "topic": topic, "time": rfc3339(time_us), "data": data })
}

/// RFC 3339 with milliseconds, UTC.
pub(super) fn rfc3339(time_us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(time_us)
        .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
        .unwrap_or_default()
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sensor_reports_once_an_interval() {
        let mut building = Building::new(7, 0);
        let (_, sensors) = building.size();
        let readings = building.readings(60 * SECOND_US - 1);
        let slow = 2 * 40;
        assert_eq!(readings.len(), (sensors - slow) * 6 + slow);
    }

    #[test]
    fn a_silent_sensor_says_nothing_and_the_others_go_on() {
        let (mut loud, mut quiet) = (Building::new(7, 0), Building::new(7, 0));
        quiet.silence("2H/3");
        let topic = quiet.topic("2H/3", Kind::Occupancy);
        let heard =
            |readings: &[Value]| readings.iter().filter(|r| r["topic"] == topic.as_str()).count();
        let (before, after) = (loud.readings(60_000_000), quiet.readings(60_000_000));
        assert_eq!(heard(&after), 0);
        assert_eq!(before.len() - heard(&before), after.len());
    }
}
