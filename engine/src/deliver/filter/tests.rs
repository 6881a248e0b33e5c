//! ON, FILTER and who is told.

use super::super::event::tests::transition;
use super::*;
use weir_ingest::model::AppendTime;

fn place(on: &str, filter: &str) -> Place {
    Place {
        on: (!on.is_empty()).then(|| on.to_owned()),
        filter: (!filter.is_empty()).then(|| TopicPattern::parse(filter).unwrap()),
    }
}

fn filter(on: &str, pattern: &str) -> Filter {
    Filter::new(place(on, pattern), Historical::Skip, None)
}

#[test]
fn on_is_a_prefix_of_whole_levels_and_filter_is_relative_to_it() {
    for (on, pattern, path, expected) in [
        ("", "", "/a/b", true),
        ("/a", "", "/a", true),
        ("/a", "", "/a/b/c", true),
        ("/a", "", "/ab", false),
        ("/a/", "", "/a/b", true),
        ("/a", "/b/+", "/a/b/c", true),
        ("/a", "b/+", "/a/b/c", true),
        ("/a", "/b/*", "/a/b/c/d", false),
        ("/a", "/b/#", "/a/b/c/d", true),
        ("/a", "/**", "/a", true),
        ("", "/+/b", "/a/b", true),
        ("", "/+/b", "/a/c", false),
        ("/a", "/b", "/b", false),
    ] {
        assert_eq!(place(on, pattern).matches(path), expected, "{on} {pattern} {path}");
    }
}

#[test]
fn one_event_for_a_transition_however_many_members_match() {
    let mut transition = transition("a", "3");
    transition.subject = "/org/x/site/berlin".to_owned();
    transition.members =
        ["4", "5"].map(|room| format!("/org/x/site/berlin/room/{room}/sensors/fire")).to_vec();
    assert!(filter("/org/x/site/berlin", "/room/*/sensors/fire").wants(&transition).unwrap());
    assert!(!filter("/org/x/site/berlin", "/room/*/sensors/gas").wants(&transition).unwrap());
    assert!(filter("/org/x/site/berlin/room/5", "").wants(&transition).unwrap());
}

#[test]
fn nobody_is_woken_for_last_week_unless_they_ask() {
    let mut transition = transition("a", "3");
    transition.historical = true;
    assert!(!filter("", "").wants(&transition).unwrap());
    let mut all = Filter::new(Place::default(), Historical::Deliver, None);
    assert!(all.wants(&transition).unwrap());
}

#[test]
fn a_shelved_alarm_is_not_told_but_that_it_was_shelved_is() {
    let mut transition = transition("a", "3");
    transition.state.annunciation = Annunciation::Shelved { until: AppendTime(9) };
    assert!(!filter("", "").wants(&transition).unwrap());
    transition.kind = TransitionKind::Shelved;
    assert!(filter("", "").wants(&transition).unwrap());
    transition.kind = TransitionKind::Ineffective;
    assert!(!filter("", "").wants(&transition).unwrap());
}

#[test]
fn a_suppressed_raise_is_not_told_and_the_end_of_suppression_only_of_an_active_alarm() {
    let mut transition = transition("a", "3");
    transition.state.annunciation = Annunciation::Suppressed;
    assert!(!filter("", "").wants(&transition).unwrap(), "A2: raised while suppressed");
    transition.kind = TransitionKind::Suppressed;
    assert!(filter("", "").wants(&transition).unwrap(), "it was told before that it is active");
    transition.kind = TransitionKind::Unsuppressed;
    transition.state.annunciation = Annunciation::InService;
    assert!(filter("", "").wants(&transition).unwrap());
    transition.state.condition = ConditionState::Normal;
    assert!(!filter("", "").wants(&transition).unwrap(), "it came and went unheard");
}

#[test]
fn where_narrows_what_the_place_lets_through() {
    let condition = Condition::new("severity = 'critical'", &Default::default()).unwrap();
    let mut filter = Filter::new(Place::default(), Historical::Skip, Some(condition));
    let mut transition = transition("a", "3");
    assert!(!filter.wants(&transition).unwrap());
    transition.severity = crate::alarms::Severity::Critical;
    assert!(filter.wants(&transition).unwrap());
}
