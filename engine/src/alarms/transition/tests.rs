use super::*;

fn key(pairs: &[(&str, &str)]) -> Key {
    let value = |value: &str| (value != "NULL").then(|| value.to_owned());
    Key(pairs.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect())
}

#[test]
fn a_key_is_written_in_the_rule_s_order_and_read_back() {
    let written = key(&[("site", "berlin"), ("floor", "2\""), ("a", ""), ("b", "NULL")]);
    assert_eq!(written.to_json(), r#"{"site":"berlin","floor":"2\"","a":"","b":null}"#);
    assert_eq!(serde_json::from_str::<Key>(&written.to_json()).unwrap(), written);
}

#[test]
fn an_id_changes_with_every_part_of_what_happened_and_with_nothing_else() {
    let site = key(&[("site", "berlin")]);
    let other_sites = [
        key(&[]),
        key(&[("site", "munich")]),
        key(&[("site", "null")]),
        key(&[("site", "NULL")]),
        key(&[("site", "")]),
        key(&[("sit", "eberlin")]),
        key(&[("site", "berlin"), ("", "")]),
    ];
    let window =
        |start, end| Place::Window(Window { start: EventTime(start), end: EventTime(end) });
    let base = Identity {
        rule_uid: 1,
        rule_version: 1,
        key: &site,
        kind: TransitionKind::Raised,
        event_time: EventTime(60),
        place: window(0, 60),
        count: 0,
    };
    let mut all = vec![
        base.clone(),
        Identity { rule_uid: 2, ..base.clone() },
        Identity { rule_version: 2, ..base.clone() },
        Identity { kind: TransitionKind::Cleared, ..base.clone() },
        Identity { event_time: EventTime(61), ..base.clone() },
        Identity { place: window(1, 60), ..base.clone() },
        Identity { place: window(0, 61), ..base.clone() },
        Identity { place: Place::Topic("/a"), ..base.clone() },
        Identity { place: Place::Topic("/b"), ..base.clone() },
        Identity { place: Place::Nowhere, ..base.clone() },
        Identity { count: 1, ..base.clone() },
    ];
    all.extend(other_sites.iter().map(|key| Identity { key, ..base.clone() }));
    let ids: std::collections::BTreeSet<String> = all.iter().map(transition_id).collect();
    assert_eq!(ids.len(), all.len());
    assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    assert_eq!(transition_id(&base), transition_id(&all[0]));
}

/// Ids are on disks and in other people's systems: this one must never change.
#[test]
fn an_id_is_the_same_in_every_version_of_the_program() {
    let id = transition_id(&Identity {
        rule_uid: 7,
        rule_version: 3,
        key: &key(&[("org", "contoso"), ("site", "berlin")]),
        kind: TransitionKind::Raised,
        event_time: EventTime(1_700_000_000_000_000),
        place: Place::Topic("/org/contoso/site/berlin/fire"),
        count: 0,
    });
    assert_eq!(id, "0fecee0146b71033746aaf4f468550e3");
}

#[test]
fn only_what_happened_more_than_a_quarter_of_an_hour_ago_is_historical() {
    let at = EventTime(0);
    assert!(!is_historical(at, AppendTime(HISTORICAL_AFTER_US)));
    assert!(is_historical(at, AppendTime(HISTORICAL_AFTER_US + 1)));
    assert!(!is_historical(EventTime(5), AppendTime(0)));
}

#[test]
fn every_kind_is_read_back_from_its_word() {
    for word in ["raised", "member_added", "rule_dropped", "out_of_service", "row"] {
        assert_eq!(word.parse::<TransitionKind>().unwrap().to_string(), word);
    }
    assert!("exploded".parse::<TransitionKind>().is_err());
}
