//! The series of one stream: topic path and level values by dense id.
//!
//! Promise: append-only and in memory; an id is durable in the catalog before a frame that uses it is
//! written, so no reader meets one that a crash could take back.
//! Elsewhere: who gives out ids is `log::streams`; which columns use them is `reading`.

use super::ids::SeriesId;
use super::topic::TopicTemplate;
use arrow::array::{ArrayRef, StringArray, StringBuilder};
use parking_lot::Mutex;
use std::sync::Arc;

/// Paths and level values of the series `0..len`, at one moment.
#[derive(Debug, Clone)]
pub struct SeriesSnapshot {
    /// Topic path by series id.
    pub topics: ArrayRef,
    /// For each level of the template, its value by series id.
    pub levels: Vec<ArrayRef>,
}

impl SeriesSnapshot {
    /// Number of series.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether the stream has no series yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Topic path of `series`.
    /// # Panics
    /// If the series is not in the snapshot: an id reached a reader before the directory (our bug).
    pub fn topic(&self, series: SeriesId) -> &str {
        value(&self.topics, series)
    }

    /// Value of the `level`-th level of `series`.
    /// # Panics
    /// As [`Self::topic`].
    pub fn level(&self, level: usize, series: SeriesId) -> &str {
        value(&self.levels[level], series)
    }
}

fn value(strings: &ArrayRef, series: SeriesId) -> &str {
    let strings: &StringArray = strings.as_any().downcast_ref().expect("series strings are Utf8");
    strings.value(series.0 as usize)
}

/// The growing directory of a stream's series. Shared; snapshots are cheap while nothing grows.
#[derive(Debug)]
pub struct SeriesDirectory {
    template: TopicTemplate,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    topics: Vec<Arc<str>>,
    snapshot: Option<Arc<SeriesSnapshot>>,
}

impl SeriesDirectory {
    /// An empty directory for a stream with this template.
    pub fn new(template: TopicTemplate) -> Self {
        Self { template, inner: Mutex::new(Inner::default()) }
    }

    /// Adds the next id's path.
    /// # Panics
    /// If `series` is not the next id or the path does not match the template: both are our bugs.
    pub fn push(&self, series: SeriesId, topic: Arc<str>) {
        assert!(
            self.template.match_path(&topic).is_some(),
            "a series matches its stream's template"
        );
        let mut inner = self.inner.lock();
        assert_eq!(series.0 as usize, inner.topics.len(), "series ids are dense");
        inner.topics.push(topic);
        inner.snapshot = None;
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.inner.lock().topics.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All series known now.
    pub fn snapshot(&self) -> Arc<SeriesSnapshot> {
        let mut inner = self.inner.lock();
        if let Some(snapshot) = &inner.snapshot {
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(build(&self.template, &inner.topics));
        inner.snapshot = Some(Arc::clone(&snapshot));
        snapshot
    }
}

fn build(template: &TopicTemplate, topics: &[Arc<str>]) -> SeriesSnapshot {
    let mut levels: Vec<StringBuilder> =
        template.captures().iter().map(|_| StringBuilder::new()).collect();
    for topic in topics {
        let values = template.match_path(topic).expect("checked at push");
        for (builder, value) in levels.iter_mut().zip(values) {
            builder.append_value(value);
        }
    }
    SeriesSnapshot {
        topics: Arc::new(topics.iter().map(|t| Some(t.as_ref())).collect::<StringArray>()),
        levels: levels.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef).collect(),
    }
}
