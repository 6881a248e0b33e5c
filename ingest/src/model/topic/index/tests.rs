//! The index against each pattern by itself.

use super::*;
use proptest::prelude::*;

fn pattern(text: &str) -> TopicPattern {
    TopicPattern::parse(text).unwrap()
}

fn index(patterns: &[TopicPattern]) -> PatternIndex {
    let mut index = PatternIndex::new();
    for (number, pattern) in (0..).zip(patterns) {
        index.insert(pattern, number);
    }
    index
}

fn one_by_one(patterns: &[TopicPattern], path: &str) -> Vec<u32> {
    let matching = (0..).zip(patterns).filter(|(_, pattern)| pattern.matches(path));
    matching.map(|(number, _)| number).collect()
}

#[test]
fn a_path_matches_by_text_by_one_level_and_by_the_rest() {
    let patterns = ["/a/+/c", "/a/b/c", "/a/#", "#", "/a/b", "+/+/b/#", "/a/b/c/#", "/a/b/c"];
    let index = index(&patterns.map(pattern));
    assert_eq!(index.matches("/a/b/c"), [0, 1, 2, 3, 5, 6, 7]);
    assert_eq!(index.matches("/a"), [2, 3]);
    assert_eq!(index.matches("/x/b"), [3, 5]);
    assert_eq!(index.matches("/x/c"), [3]);
}

#[test]
fn a_pattern_that_was_taken_away_is_matched_no_more() {
    let mut index = index(&["/a/+", "/a/+", "/a/#"].map(pattern));
    index.remove(&pattern("/a/+"), 0);
    index.remove(&pattern("/b/+"), 2);
    assert_eq!((index.matches("/a/b"), index.len()), (vec![1, 2], 2));
    index.remove(&pattern("/a/+"), 1);
    index.remove(&pattern("/a/#"), 2);
    assert!(index.is_empty() && index.matches("/a/b").is_empty());
}

proptest! {
    #[test]
    fn the_index_says_what_each_pattern_says(
        patterns in prop::collection::vec("(/?(a|b|\\+|)){0,3}(a|#|/#|/\\+)", 0..20),
        paths in prop::collection::vec("(/?(a|b|c|)){0,5}", 1..10),
        gone in prop::collection::vec(any::<bool>(), 20),
    ) {
        let patterns: Vec<TopicPattern> =
            patterns.iter().filter_map(|text| TopicPattern::parse(text).ok()).collect();
        let mut index = index(&patterns);
        for path in &paths {
            prop_assert_eq!(index.matches(path), one_by_one(&patterns, path), "{}", path);
        }
        for ((number, pattern), _) in (0..).zip(&patterns).zip(&gone).filter(|(_, gone)| **gone) {
            index.remove(pattern, number);
        }
        for path in &paths {
            let mut left = one_by_one(&patterns, path);
            left.retain(|number| !gone[*number as usize]);
            prop_assert_eq!(index.matches(path), left, "{}", path);
        }
    }
}
