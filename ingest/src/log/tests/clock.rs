//! A clock that is not to be believed removes nothing and lets no time pass.

use crate::log::test_room::TestRoom;
use crate::log::{ClockState, EntryBody, accept_clock};
use crate::model::{Offset, Retention};
use std::time::Duration;

const HOUR_US: i64 = 3_600_000_000;

fn day() -> Retention {
    Retention { age: Some(Duration::from_secs(86_400)), bytes: None }
}

/// A few segments, a second apart.
fn filled() -> TestRoom {
    let room = TestRoom::keeping(1024, day());
    for _ in 0..5 {
        room.put(40).unwrap();
        room.clock.advance(Duration::from_secs(1));
    }
    room
}

fn wall(room: &TestRoom) -> i64 {
    room.log.clock().wall_us()
}

#[test]
fn a_clock_that_jumps_ahead_removes_nothing_until_it_is_accepted() {
    let room = filled();
    room.clock.step_wall(wall(&room) + 48 * HOUR_US);
    room.log.step_ticks();
    assert_eq!(room.log.clock_state(), ClockState::Moved { by_us: 48 * HOUR_US });
    assert_eq!(room.log.step_retention(), 0);
    assert_eq!(room.log.accept_clock().unwrap(), ClockState::Moved { by_us: 48 * HOUR_US });
    assert_eq!(room.log.clock_state(), ClockState::Agrees);
    assert_eq!(room.log.step_retention(), 4);
}

#[test]
fn retention_by_bytes_goes_on_by_a_clock_that_is_not_believed() {
    let retention = Retention { bytes: Some(1), ..day() };
    let room = TestRoom::keeping(1024, retention);
    for _ in 0..5 {
        room.put(40).unwrap();
    }
    room.clock.step_wall(wall(&room) + 2 * HOUR_US);
    assert!(room.log.clock_state().is_suspect());
    assert_eq!(room.log.step_retention(), 4);
}

#[test]
fn a_silent_live_stream_gets_no_ticks_of_a_clock_that_jumped() {
    let room = filled();
    let ticks = |room: &TestRoom| {
        room.log.step_ticks();
        room.log.step_committers();
        let mut reader = room.partition().reader(Offset(0));
        let mut ticks = 0;
        while let Some(entry) = reader.next().unwrap() {
            ticks += usize::from(matches!(entry.body, EntryBody::Tick { .. }));
        }
        ticks
    };
    room.clock.advance(Duration::from_secs(20));
    let before = ticks(&room);
    assert!(before > 0, "with the clock");
    room.clock.step_wall(wall(&room) + 2 * HOUR_US);
    room.clock.advance(Duration::from_secs(20));
    assert_eq!(ticks(&room), before);
    room.log.accept_clock().unwrap();
    room.clock.advance(Duration::from_secs(20));
    assert!(ticks(&room) > before);
}

#[test]
fn a_start_before_the_newest_row_is_accepted_on_the_directory() {
    let room = filled();
    let now = wall(&room);
    let (room, was) = room.between(|disk, clock, config| {
        // As a machine does that lost its battery.
        accept_clock(disk, clock, config).unwrap()
    });
    assert_eq!(was, ClockState::Agrees);
    room.clock.step_wall(now - 5 * HOUR_US);
    let room = room.killed();
    assert!(matches!(room.log.clock_state(), ClockState::BeforeTheLog { .. }));
    let (room, was) =
        room.between(|disk, clock, config| accept_clock(disk, clock, config).unwrap());
    assert!(matches!(was, ClockState::BeforeTheLog { .. }), "{was:?}");
    assert_eq!(room.log.clock_state(), ClockState::Agrees);
    room.put(3).unwrap();
    let room = room.killed();
    assert_eq!(room.log.clock_state(), ClockState::Agrees, "what was accepted stays so");
    room.clock.step_wall(now);
    let room = room.killed();
    room.clock.step_wall(now - 5 * HOUR_US);
    let room = room.killed();
    assert!(room.log.clock_state().is_suspect(), "it was right in between");
}
