//! Where an alarm stands in the topic tree, so that subscriptions can match it.

use super::transition::Key;
use weir_ingest::model::TopicTemplate;

/// How a rule's keys become topic prefixes.
#[derive(Debug, Clone)]
pub struct Subjects {
    templates: Vec<TopicTemplate>,
    otherwise: String,
}

impl Subjects {
    /// For a rule that reads streams with these templates.
    pub fn new(rule: &str, templates: Vec<TopicTemplate>) -> Self {
        Self { templates, otherwise: format!("/rules/{rule}") }
    }

    /// The templates filled in from `key`, up to and including the last capture before the first one
    /// that it lacks or that is NULL there, as far as they agree; the topic path itself where it is in the key; else
    /// `/rules/<rule>`.
    pub fn of(&self, key: &Key) -> String {
        if let Some(topic) = key.get("topic") {
            return topic.to_owned();
        }
        let filled: Option<Vec<String>> =
            self.templates.iter().map(|template| template.fill(|name| key.get(name))).collect();
        filled
            .and_then(|filled| filled.into_iter().reduce(|a, b| shared(&a, &b)))
            .filter(|subject| !subject.is_empty())
            .unwrap_or_else(|| self.otherwise.clone())
    }
}

fn shared(a: &str, b: &str) -> String {
    let same = a.split('/').zip(b.split('/')).take_while(|(a, b)| a == b);
    same.map(|(level, _)| level).collect::<Vec<_>>().join("/")
}

/// Whether `topic` is `place` or lies below it.
pub fn is_at_or_below(topic: &str, place: &str) -> bool {
    topic
        .strip_prefix(place)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || place.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(templates: &[&str], key: &[(&str, &str)], subject: &str) {
        let templates = templates.iter().map(|t| TopicTemplate::parse(t).unwrap()).collect();
        let value = |text: &str| (text != "NULL").then(|| text.to_owned());
        let key = Key(key.iter().map(|(n, v)| ((*n).to_owned(), value(v))).collect());
        assert_eq!(Subjects::new("evacuate", templates).of(&key), subject);
    }

    #[test]
    fn a_subject_ends_at_the_last_level_before_the_first_that_the_key_lacks() {
        let fire = "/org/{org}/site/{site}/room/{room}/fire";
        let gas = "/org/{org}/site/{site}/gas/{unit}";
        let site = [("org", "contoso"), ("site", "berlin")];
        check(&[fire], &site, "/org/contoso/site/berlin");
        check(&[fire, gas], &site, "/org/contoso/site/berlin");
        check(&[fire], &[("site", "berlin")], "/rules/evacuate");
        check(&[fire], &[], "/rules/evacuate");
        check(&[], &[("batch", "7")], "/rules/evacuate");
        check(&[fire, gas], &[("topic", "/a/b")], "/a/b");
        let all = [("org", "o"), ("site", "s"), ("room", "r")];
        check(&[fire], &all, "/org/o/site/s/room/r/fire");
        check(&[fire, gas], &all, "/org/o/site/s");
    }

    #[test]
    fn a_capture_that_is_null_ends_the_subject_as_a_missing_one_does() {
        let fire = "/org/{org}/site/{site}/room/{room}/fire";
        check(&[fire], &[("org", "o"), ("site", "NULL"), ("room", "r")], "/org/o");
        check(&[fire], &[("org", "NULL"), ("site", "s")], "/rules/evacuate");
        check(&[fire], &[("topic", "NULL"), ("org", "o")], "/org/o");
    }

    #[test]
    fn a_place_holds_what_is_below_it_level_by_level() {
        assert!(is_at_or_below("/site/berlin/floor/1", "/site/berlin"));
        assert!(is_at_or_below("/site/berlin", "/site/berlin"));
        assert!(!is_at_or_below("/site/berlin2", "/site/berlin"));
    }
}
