use super::*;
use proptest::prelude::*;

/// `"0s:R 4s:B 9s:?"`: seconds and the verdict (Raise, Clear, Band, ? for unknown).
fn steps(text: &str) -> Vec<(EventTime, Verdict)> {
    text.split_whitespace()
        .map(|word| {
            let (at, verdict) = word.split_once("s:").unwrap();
            let verdict = match verdict {
                "R" => Verdict::Raise,
                "C" => Verdict::Clear,
                "B" => Verdict::Band,
                "?" => Verdict::Unknown,
                other => panic!("{other}"),
            };
            (seconds(at.parse().unwrap()), verdict)
        })
        .collect()
}

fn seconds(s: i64) -> EventTime {
    EventTime(s * 1_000_000)
}

fn holds(raise_s: i64, clear_s: i64) -> Condition {
    Condition { raise_hold_us: raise_s * 1_000_000, clear_hold_us: clear_s * 1_000_000 }
}

#[derive(Clone, Copy, PartialEq)]
enum Timers {
    Fire,
    Wait,
}

fn run(condition: Condition, input: &[(EventTime, Verdict)], timers: Timers) -> Vec<String> {
    let mut clock = KeyClock::new(condition);
    let mut out = Vec::new();
    let mut write = |at: EventTime, decision| match decision {
        Decision::None => {}
        Decision::Raise => out.push(format!("{}s raised", at.0 / 1_000_000)),
        Decision::Clear => out.push(format!("{}s cleared", at.0 / 1_000_000)),
    };
    for (at, verdict) in input {
        if let Some(due) = clock.due().filter(|due| timers == Timers::Fire && due <= at) {
            write(due, clock.fire(*at));
        }
        write(*at, clock.step(*at, *verdict));
    }
    if let Some(due) = clock.due().filter(|_| timers == Timers::Fire) {
        write(due, clock.fire(due));
    }
    out
}

fn check_windows(condition: Condition, input: &str, expected: &str) {
    assert_eq!(run(condition, &steps(input), Timers::Wait).join(" "), expected, "{input}");
}

fn check_readings(condition: Condition, input: &str, expected: &str) {
    assert_eq!(run(condition, &steps(input), Timers::Fire).join(" "), expected, "{input}");
}

#[test]
fn without_for_the_first_window_decides() {
    check_windows(holds(0, 0), "10s:C 20s:R 30s:R 40s:C", "20s raised 40s cleared");
}

#[test]
fn for_on_windows_is_held_from_the_first_end_to_the_one_that_is_far_enough() {
    check_windows(holds(20, 0), "10s:R 20s:R 30s:R 40s:R", "30s raised");
    check_windows(holds(15, 0), "10s:R 20s:R 30s:R", "30s raised");
    check_windows(holds(20, 0), "10s:R 20s:C 30s:R 40s:R", "");
}

#[test]
fn an_unknown_window_counts_through_when_the_next_known_one_agrees() {
    check_windows(holds(20, 0), "10s:R 20s:? 30s:R", "30s raised");
    check_windows(holds(20, 0), "10s:R 20s:? 30s:C 40s:R 50s:R 60s:R", "60s raised");
    check_windows(holds(20, 0), "10s:R 20s:? 30s:?", "");
}

#[test]
fn in_the_band_the_state_holds_and_both_clocks_reset() {
    check_windows(holds(20, 0), "10s:R 20s:B 30s:R 40s:R 50s:R", "50s raised");
    check_windows(holds(0, 20), "10s:R 20s:C 30s:B 40s:C 50s:C 60s:C", "10s raised 60s cleared");
    check_windows(holds(0, 0), "10s:R 20s:B 30s:B", "10s raised");
}

#[test]
fn the_off_delay_restarts_when_the_value_crosses_again() {
    check_readings(holds(0, 10), "0s:R 4s:C 9s:R 15s:C", "0s raised 25s cleared");
}

#[test]
fn time_that_passes_satisfies_a_reading_s_for_but_not_while_it_is_unknown() {
    check_readings(holds(10, 0), "0s:R", "10s raised");
    check_readings(holds(10, 0), "0s:R 10s:C", "10s raised 10s cleared");
    check_readings(holds(10, 0), "0s:R 5s:? 20s:R", "20s raised");
    check_readings(holds(10, 0), "0s:R 5s:? 7s:R", "10s raised");
    check_readings(holds(10, 0), "0s:R 5s:? 20s:C", "");
}

#[test]
fn a_late_verdict_may_raise_and_never_clears() {
    let mut clock = KeyClock::new(holds(0, 10));
    assert_eq!(clock.step_late(seconds(5), Verdict::Raise), Decision::Raise);
    assert_eq!(clock.step_late(seconds(6), Verdict::Clear), Decision::None);
    assert_eq!(clock.step(seconds(20), Verdict::Clear), Decision::None);
    assert_eq!(clock.step_late(seconds(10), Verdict::Raise), Decision::None);
    assert_eq!(clock.due(), Some(seconds(30)), "what came before the clock began is no matter");
    assert_eq!(clock.step_late(seconds(25), Verdict::Raise), Decision::None);
    assert_eq!(clock.due(), None, "the condition had not ended");
}

#[test]
fn silence_fires_once_until_something_is_known_again() {
    let no_data = NoData { after_us: 60_000_000, action: NoDataAction::Raise };
    let mut silence = NoDataClock::new(no_data, seconds(0));
    assert_eq!(silence.due(), Some(seconds(60)));
    assert_eq!(silence.fire(seconds(59)), None);
    silence.heard(seconds(10));
    assert_eq!(silence.fire(seconds(60)), None);
    assert_eq!(silence.fire(seconds(70)), Some(NoDataAction::Raise));
    assert_eq!((silence.fire(seconds(700)), silence.due()), (None, None));
    assert!(silence.is_silent());
    silence.heard(seconds(5));
    assert!(silence.is_silent(), "an old reading breaks no silence");
    silence.heard(seconds(800));
    assert_eq!(silence.due(), Some(seconds(860)));
}

#[test]
fn time_with_shut_doors_is_no_silence() {
    let no_data = NoData { after_us: 60_000_000, action: NoDataAction::Hold };
    let mut silence = NoDataClock::new(no_data, seconds(0));
    silence.restart(seconds(3600));
    assert_eq!(silence.due(), Some(seconds(3660)));
    silence.restart(seconds(10));
    assert_eq!(silence.due(), Some(seconds(3660)), "it never goes back");
}

/// STREAMING.md word by word: for each window, look back over the known windows.
fn naive(condition: Condition, input: &[(EventTime, Verdict)]) -> Vec<String> {
    let mut out = Vec::new();
    let (mut active, mut changed) = (false, 0);
    for (i, (end, verdict)) in input.iter().enumerate() {
        let (wanted, hold) = match active {
            false => (Verdict::Raise, condition.raise_hold_us),
            true => (Verdict::Clear, condition.clear_hold_us),
        };
        if *verdict != wanted {
            continue;
        }
        let known = input[changed..=i].iter().rev().filter(|(_, v)| *v != Verdict::Unknown);
        let first = known.take_while(|(_, v)| *v == wanted).last().unwrap().0;
        if end.0 - first.0 >= hold {
            active = !active;
            changed = i + 1;
            let word = if active { "raised" } else { "cleared" };
            out.push(format!("{}s {word}", end.0 / 1_000_000));
        }
    }
    out
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Raise),
        Just(Verdict::Clear),
        Just(Verdict::Band),
        Just(Verdict::Unknown)
    ]
}

proptest! {
    #[test]
    fn the_clock_obeys_the_naive_reference(
        raise in 0..40i64,
        clear in 0..40i64,
        steps in prop::collection::vec((1..15i64, any_verdict()), 0..60),
    ) {
        let mut at = 0;
        let input: Vec<_> = steps.into_iter().map(|(gap, verdict)| {
            at += gap;
            (seconds(at), verdict)
        }).collect();
        let condition = holds(raise, clear);
        prop_assert_eq!(run(condition, &input, Timers::Wait), naive(condition, &input));
    }
}
