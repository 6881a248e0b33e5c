//! Many topic patterns at once: which of them does a path match?
//!
//! Promise: the answer of [`TopicPattern::matches`] of each, for the price of the path's levels. Patterns
//! stand in a tree by level; the text of a level is looked up once, however many patterns share it.

use super::{PatternLevel, TopicPattern};
use std::collections::HashMap;

/// The levels of all patterns as a tree.
#[derive(Debug)]
pub struct PatternIndex {
    /// The number of each text that is a level of a pattern.
    texts: HashMap<Box<str>, u32, ahash::RandomState>,
    /// The node below a node by a level's text.
    below: HashMap<(u32, u32), u32, ahash::RandomState>,
    nodes: Vec<Node>,
    len: usize,
}

/// Where patterns that begin alike have come to.
#[derive(Debug, Default)]
struct Node {
    /// The node below it by `+`.
    one: Option<u32>,
    /// Patterns that end here.
    end: Vec<u32>,
    /// Patterns with `#` here.
    rest: Vec<u32>,
}

const ROOT: u32 = 0;

impl Default for PatternIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl PatternIndex {
    /// No pattern.
    pub fn new() -> Self {
        Self {
            texts: HashMap::default(),
            below: HashMap::default(),
            nodes: vec![Node::default()],
            len: 0,
        }
    }

    /// Number of patterns.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a pattern under a number of the caller's.
    pub fn insert(&mut self, pattern: &TopicPattern, number: u32) {
        let mut node = ROOT;
        for level in &pattern.levels {
            node = match level {
                PatternLevel::Text(text) => self.below_by_text(node, text),
                PatternLevel::One => self.below_by_one(node),
                PatternLevel::Rest => break,
            };
        }
        place(&mut self.nodes[node as usize], pattern).push(number);
        self.len += 1;
    }

    /// Takes a pattern away that stands under this number. What it shared with others stays.
    pub fn remove(&mut self, pattern: &TopicPattern, number: u32) {
        let mut node = ROOT;
        for level in &pattern.levels {
            let next = match level {
                PatternLevel::Text(text) => {
                    let text = self.texts.get(text.as_str());
                    text.and_then(|text| self.below.get(&(node, *text)).copied())
                }
                PatternLevel::One => self.nodes[node as usize].one,
                PatternLevel::Rest => break,
            };
            let Some(next) = next else { return };
            node = next;
        }
        let numbers = place(&mut self.nodes[node as usize], pattern);
        if let Some(at) = numbers.iter().position(|n| *n == number) {
            numbers.swap_remove(at);
            self.len -= 1;
        }
        if self.is_empty() {
            *self = Self::new();
        }
    }

    /// The numbers of the patterns that `path` matches, growing.
    pub fn matches(&self, path: &str) -> Vec<u32> {
        let texts: Vec<Option<u32>> =
            path.split('/').map(|level| self.texts.get(level).copied()).collect();
        let mut found = Vec::new();
        self.collect(ROOT, &texts, &mut found);
        found.sort_unstable();
        found
    }

    fn collect(&self, node: u32, levels: &[Option<u32>], found: &mut Vec<u32>) {
        let here = &self.nodes[node as usize];
        found.extend_from_slice(&here.rest);
        let Some((level, further)) = levels.split_first() else {
            found.extend_from_slice(&here.end);
            return;
        };
        if let Some(one) = here.one {
            self.collect(one, further, found);
        }
        if let Some(next) = level.and_then(|text| self.below.get(&(node, text))) {
            self.collect(*next, further, found);
        }
    }

    fn below_by_text(&mut self, node: u32, text: &str) -> u32 {
        let number = match self.texts.get(text) {
            Some(number) => *number,
            None => {
                let number = count(self.texts.len());
                self.texts.insert(text.into(), number);
                number
            }
        };
        if let Some(below) = self.below.get(&(node, number)) {
            return *below;
        }
        let below = self.add_node();
        self.below.insert((node, number), below);
        below
    }

    fn below_by_one(&mut self, node: u32) -> u32 {
        if let Some(below) = self.nodes[node as usize].one {
            return below;
        }
        let below = self.add_node();
        self.nodes[node as usize].one = Some(below);
        below
    }

    fn add_node(&mut self) -> u32 {
        self.nodes.push(Node::default());
        count(self.nodes.len() - 1)
    }
}

/// Where a pattern's number stands in the node it leads to.
fn place<'n>(node: &'n mut Node, pattern: &TopicPattern) -> &'n mut Vec<u32> {
    match pattern.levels.last() {
        Some(PatternLevel::Rest) => &mut node.rest,
        _ => &mut node.end,
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("there are fewer levels of patterns than 2^32")
}

#[cfg(test)]
mod tests;
