//! Deliberate faults: each alone must be found by a test; which ones find it is printed.
//!
//! Promise: what is run here under a fault are the checks that run without one elsewhere: the seeded
//! simulation of rules, golden cases in all their ways, windows against the batch. Without a fault they
//! find nothing. A fault that nothing finds means that the tests are too weak.

use crate::case::Case;
use crate::faults::{Red, each_alone};
use crate::seeds::guarded;
use crate::{directory, rules, ways, windows};
use weir_engine::sabotage::Fault;

/// Golden cases that are tried on every fault.
const CASES: [&str; 16] = [
    "groups/levels_of_the_topic_group_sensors",
    "groups/levels_and_fields_can_be_grouped_together",
    "hop/late_for_one_window_and_in_time_for_the_next",
    "late/a_reading_behind_a_closed_window_is_listed_and_not_merged",
    "operators/acknowledge_says_who_knows",
    "operators/a_shelved_alarm_goes_on_and_is_not_told",
    "outage/an_alarm_survives_with_what_operators_said",
    "readings/a_reading_behind_the_watermark_may_raise_but_not_clear",
    "readings/null_neither_raises_nor_clears",
    "session/a_reading_between_two_sessions_makes_them_one",
    "silence/a_busy_partition_does_not_push_another_beyond_its_readings",
    "silence/a_silent_live_stream_closes_its_windows_by_the_clock",
    "streams/windows_over_a_union_wait_for_both_streams",
    "windows/a_late_row_is_late_and_one_in_time_is_not_in_the_same_request",
    "windows/null_values_are_not_averaged_but_their_rows_are_counted",
    "windows/readings_out_of_order_within_the_lateness_all_count",
];
const SIMULATION: &str = "after_power_cuts_the_alarm_log_is_that_of_an_uninterrupted_run";
const WINDOWS: &str = "every_emitted_window_equals_the_batch_query_over_the_rows_not_late_for_it";
/// Seeds within which a fault is found, or not at all.
const SEEDS: u64 = 20;

/// What is found, whether the check says so or panics.
fn found(check: impl FnOnce() -> Option<String>) -> Option<String> {
    guarded(|| check().map_or(Ok(()), Err)).err()
}

fn of_seeds(name: &str, check: impl Fn(u64) -> Option<String>) -> Option<Red> {
    let of_seed = |seed| Some((format!("{name} (WEIR_SEED={seed})"), found(|| check(seed))?));
    (0..SEEDS).find_map(of_seed)
}

fn of_case(name: &str) -> Option<Red> {
    let path = directory().join(format!("{name}.rule"));
    let text = std::fs::read_to_string(path).expect("the case is there");
    let case = Case::parse(&text).expect("it is a case");
    Some((name.to_owned(), found(|| ways::check(&case).into_iter().next())?))
}

/// The tests that turn red on this thread.
fn red() -> Vec<Red> {
    let simulation = of_seeds(SIMULATION, |seed| rules::run(seed).err());
    let windows = of_seeds(WINDOWS, |seed| windows::run(seed).err());
    simulation
        .into_iter()
        .chain(windows)
        .chain(CASES.iter().filter_map(|name| of_case(name)))
        .collect()
}

#[test]
fn each_of_the_deliberate_faults_alone_turns_a_test_red() {
    each_alone(&Fault::ALL, red);
}
