//! Topics: one set of rules at every door.

use super::{TopicError, TopicPattern, TopicTemplate, check_topic, murmur2, partition_of};

const CLIMATE: &str = "/org/{org}/site/{site}/building/{building}/sensors/climate";

#[test]
fn a_published_topic_obeys_mqtts_rules() {
    for (topic, expected) in [
        ("/a/b", Ok(())),
        ("a//b", Ok(())),
        ("", Err(TopicError::Empty)),
        ("/a/+/b", Err(TopicError::Wildcard('+'))),
        ("/a/#", Err(TopicError::Wildcard('#'))),
        ("/a\0b", Err(TopicError::Nul)),
        (&"x".repeat(600), Err(TopicError::TooLong { bytes: 600 })),
        (&"/".repeat(40), Err(TopicError::TooDeep { levels: 41 })),
    ] {
        assert_eq!(check_topic(topic), expected, "{topic:?}");
    }
}

#[test]
fn partitions_are_kafkas_own() {
    // Known answers of org.apache.kafka.common.utils.UtilsTest.testMurmur2.
    for (text, hash) in [
        ("21", -973_932_308_i32),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ] {
        assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        assert!(partition_of(text, 4) < 4);
    }
}

#[test]
fn a_template_turns_a_path_into_level_values() {
    let template = TopicTemplate::parse(CLIMATE).unwrap();
    assert_eq!(template.captures(), ["org", "site", "building"]);
    let path = "/org/contoso/site/berlin/building/41/sensors/climate";
    assert_eq!(template.match_path(path), Some(vec!["contoso", "berlin", "41"]));
    assert_eq!(template.match_path("/org/contoso/site/berlin/building/41/sensors/fire"), None);
    assert_eq!(template.match_path(&format!("{path}/x")), None);
}

#[test]
fn a_template_that_cannot_work_is_refused() {
    for (text, expected) in [
        ("/plant/climate", TopicError::NoCapture),
        ("/plant/{}", TopicError::BadCapture("{}".into())),
        ("/plant/x{a}", TopicError::BadCapture("x{a}".into())),
        ("/{a}/{a}", TopicError::DuplicateCapture("a".into())),
    ] {
        assert_eq!(TopicTemplate::parse(text), Err(expected), "{text}");
    }
}

#[test]
fn templates_overlap_when_one_path_fits_both() {
    let overlap =
        |a, b| TopicTemplate::parse(a).unwrap().overlaps(&TopicTemplate::parse(b).unwrap());
    assert!(overlap("/a/{x}/c", "/a/b/{y}"));
    assert!(!overlap("/a/{x}/c", "/a/{x}/d"));
    assert!(!overlap("/a/{x}", "/a/{x}/{y}"));
}

#[test]
fn a_template_filled_from_a_key_stops_before_the_first_unknown_level() {
    let template = TopicTemplate::parse(CLIMATE).unwrap();
    let fill = |known: &'static [(&str, &str)]| {
        template.fill(|name| known.iter().find(|(n, _)| *n == name).map(|(_, v)| *v))
    };
    assert_eq!(
        fill(&[("org", "contoso"), ("site", "berlin")]).as_deref(),
        Some("/org/contoso/site/berlin")
    );
    assert_eq!(fill(&[("site", "berlin")]), None);
    assert_eq!(
        fill(&[("org", "c"), ("site", "b"), ("building", "41")]).as_deref(),
        Some("/org/c/site/b/building/41/sensors/climate")
    );
}

#[test]
fn patterns_match_as_in_mqtt() {
    for (pattern, path, expected) in [
        ("/a/+/c", "/a/b/c", true),
        ("/a/*/c", "/a/b/c", true),
        ("/a/+", "/a/b/c", false),
        ("/a/#", "/a/b/c", true),
        ("/a/**", "/a", true),
        ("#", "/anything/at/all", true),
        ("/a/b", "/a/bc", false),
    ] {
        assert_eq!(
            TopicPattern::parse(pattern).unwrap().matches(path),
            expected,
            "{pattern} {path}"
        );
    }
    assert_eq!(TopicPattern::parse("/a/#/b"), Err(TopicError::RestNotLast("#".into())));
}

#[test]
fn a_pattern_overlaps_a_template_if_some_path_matches_both() {
    let template = TopicTemplate::parse("/site/{site}/temp").unwrap();
    for (pattern, overlaps) in [
        ("#", true),
        ("/site/#", true),
        ("/site/+/temp", true),
        ("/site/berlin/temp", true),
        ("/site/berlin/temp/#", true),
        ("/+/berlin/+", true),
        ("/site/berlin", false),
        ("/site/berlin/temp/x", false),
        ("/room/#", false),
        ("/site/+/humidity", false),
    ] {
        assert_eq!(
            TopicPattern::of_filter(pattern).unwrap().overlaps(&template),
            overlaps,
            "{pattern}"
        );
    }
}
