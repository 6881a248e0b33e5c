use super::*;
use std::collections::BTreeSet;

const T: AppendTime = AppendTime(100);
const LATER: AppendTime = AppendTime(200);

fn states() -> Vec<State> {
    let mut all = Vec::new();
    for condition in [ConditionState::Normal, ConditionState::Active] {
        for acknowledged in [Acknowledged::Yes, Acknowledged::No] {
            for annunciation in [
                Annunciation::InService,
                Annunciation::Shelved { until: T },
                Annunciation::Suppressed,
                Annunciation::OutOfService,
            ] {
                all.push(State { condition, acknowledged, annunciation });
            }
        }
    }
    all
}

/// `Na` is normal acknowledged, `Nu` normal unacknowledged, `Aa`, `Au` likewise active.
fn process(state: State) -> &'static str {
    match (state.condition, state.acknowledged) {
        (ConditionState::Normal, Acknowledged::Yes) => "Na",
        (ConditionState::Normal, Acknowledged::No) => "Nu",
        (ConditionState::Active, Acknowledged::Yes) => "Aa",
        (ConditionState::Active, Acknowledged::No) => "Au",
    }
}

fn told(state: State) -> String {
    match state.annunciation {
        Annunciation::InService => "in".to_owned(),
        Annunciation::Shelved { until } => format!("shelved@{until}"),
        Annunciation::Suppressed => "suppressed".to_owned(),
        Annunciation::OutOfService => "out".to_owned(),
    }
}

/// An input that works on the process: the four cases, whatever people are told.
fn check_process(input: AlarmInput, cases: [(&str, &str, Effect); 4]) {
    for state in states() {
        let (_, expected, effect) =
            cases.into_iter().find(|(from, _, _)| *from == process(state)).unwrap();
        let (next, found) = step(state, input);
        assert_eq!((process(next), found), (expected, effect), "{state:?} {input:?}");
        assert_eq!(next.annunciation, state.annunciation, "{state:?} {input:?}");
    }
}

/// An input that works on what people are told: the four cases, whatever the process does.
fn check_told(input: AlarmInput, cases: [(&str, &str, Effect); 4]) {
    for state in states() {
        let (_, expected, effect) =
            cases.into_iter().find(|(from, _, _)| *from == told(state)).unwrap();
        let (next, found) = step(state, input);
        assert_eq!((told(next).as_str(), found), (expected, effect), "{state:?} {input:?}");
        assert_eq!(process(next), process(state), "{state:?} {input:?}");
    }
}

#[test]
fn the_condition_opens_and_ends_an_occurrence() {
    check_process(
        AlarmInput::Raise,
        [
            ("Na", "Au", Effect::Raised),
            ("Nu", "Au", Effect::RaisedAnew),
            ("Aa", "Aa", Effect::None),
            ("Au", "Au", Effect::None),
        ],
    );
    check_process(
        AlarmInput::Clear,
        [
            ("Na", "Na", Effect::None),
            ("Nu", "Nu", Effect::None),
            ("Aa", "Na", Effect::Cleared),
            ("Au", "Nu", Effect::Cleared),
        ],
    );
    check_process(
        AlarmInput::MemberAdded,
        [
            ("Na", "Na", Effect::None),
            ("Nu", "Nu", Effect::None),
            ("Aa", "Aa", Effect::MemberAdded),
            ("Au", "Au", Effect::MemberAdded),
        ],
    );
}

#[test]
fn an_acknowledgement_counts_once_and_only_for_what_was_seen() {
    let already = Effect::Ineffective(Why::AlreadyAcknowledged);
    check_process(
        AlarmInput::Acknowledge { seen: Seen::Newest },
        [
            ("Na", "Na", Effect::Ineffective(Why::NotOpen)),
            ("Nu", "Na", Effect::Acknowledged),
            ("Aa", "Aa", already),
            ("Au", "Aa", Effect::Acknowledged),
        ],
    );
    check_process(
        AlarmInput::Acknowledge { seen: Seen::Outdated },
        [
            ("Na", "Na", Effect::Ineffective(Why::NotOpen)),
            ("Nu", "Nu", Effect::Ineffective(Why::Outdated)),
            ("Aa", "Aa", already),
            ("Au", "Au", Effect::Ineffective(Why::Outdated)),
        ],
    );
}

#[test]
fn shelving_needs_an_open_occurrence_in_service() {
    for state in states() {
        let (next, effect) = step(state, AlarmInput::Shelve { until: LATER });
        let open = process(state) != "Na";
        let expected = match told(state).as_str() {
            "out" => ("out", Effect::Ineffective(Why::OutOfService)),
            "shelved@100" => ("shelved@200", Effect::Shelved),
            _ if open => ("shelved@200", Effect::Shelved),
            "in" => ("in", Effect::Ineffective(Why::NotOpen)),
            _ => ("suppressed", Effect::Ineffective(Why::NotOpen)),
        };
        assert_eq!((told(next).as_str(), effect), expected, "{state:?}");
        assert_eq!(process(next), process(state));
    }
}

#[test]
fn people_are_told_again_when_what_kept_them_ends() {
    let not_shelved = Effect::Ineffective(Why::NotShelved);
    check_told(
        AlarmInput::Unshelve,
        [
            ("in", "in", not_shelved),
            ("shelved@100", "in", Effect::Unshelved),
            ("suppressed", "suppressed", not_shelved),
            ("out", "out", not_shelved),
        ],
    );
    check_told(
        AlarmInput::ShelveExpired,
        [
            ("in", "in", Effect::None),
            ("shelved@100", "in", Effect::Unshelved),
            ("suppressed", "suppressed", Effect::None),
            ("out", "out", Effect::None),
        ],
    );
    check_told(
        AlarmInput::Suppress,
        [
            ("in", "suppressed", Effect::Suppressed),
            ("shelved@100", "shelved@100", Effect::None),
            ("suppressed", "suppressed", Effect::None),
            ("out", "out", Effect::None),
        ],
    );
    check_told(
        AlarmInput::Unsuppress,
        [
            ("in", "in", Effect::None),
            ("shelved@100", "shelved@100", Effect::None),
            ("suppressed", "in", Effect::Unsuppressed),
            ("out", "out", Effect::None),
        ],
    );
    check_told(
        AlarmInput::TakeOutOfService,
        [
            ("in", "out", Effect::OutOfService),
            ("shelved@100", "out", Effect::OutOfService),
            ("suppressed", "out", Effect::OutOfService),
            ("out", "out", Effect::Ineffective(Why::OutOfService)),
        ],
    );
    check_told(
        AlarmInput::ReturnToService,
        [
            ("in", "in", Effect::Ineffective(Why::InService)),
            ("shelved@100", "shelved@100", Effect::Ineffective(Why::InService)),
            ("suppressed", "suppressed", Effect::Ineffective(Why::InService)),
            ("out", "in", Effect::Returned),
        ],
    );
}

#[test]
fn a_dropped_rule_leaves_nothing_behind() {
    for state in states() {
        let (next, effect) = step(state, AlarmInput::RuleDropped);
        let expected = if process(state) == "Na" { Effect::None } else { Effect::RuleDropped };
        assert_eq!((next, effect), (State::default(), expected), "{state:?}");
    }
}

#[test]
fn every_state_has_its_isa_name_and_the_process_shows_when_a_shelving_ends() {
    let names: BTreeSet<_> = states().into_iter().map(State::isa_name).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    for state in states().into_iter().filter(|state| told(*state) == "shelved@100") {
        assert_eq!(state.isa_name(), "Shelved");
        let name = step(state, AlarmInput::ShelveExpired).0.isa_name();
        let expected = match process(state) {
            "Na" => "Normal",
            "Nu" => "Returned to Normal Unacknowledged",
            "Aa" => "Acknowledged Active",
            _ => "Unacknowledged Active",
        };
        assert_eq!(name, expected);
    }
}
