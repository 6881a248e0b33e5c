//! What a decoder leaves to the next one: topics, shapes and beginnings of rows.
//!
//! Promise: what was learned holds while streams are what they were: when one comes, goes or changes, it is
//! forgotten. It has bounds, and rows beyond them are looked up and read each time.
//! Elsewhere: `log` keeps it between requests without knowing what it is.

use super::json::{Decoder, Target};
use super::known::KnownTopics;
use super::shapes::Shapes;
use crate::log::Stream;
use crate::model::StreamDefinition;
use std::sync::Arc;

/// Topics that are remembered from one request to the next, and bytes of how their rows begin.
const TOPICS_MAX: usize = 16 * 1024;
const OPENINGS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Streams that are held against their declarations at each request.
const STREAMS_MAX: usize = 64;

struct Left {
    known: KnownTopics,
    shapes: Shapes,
    targets: Vec<(Arc<Stream>, Arc<StreamDefinition>)>,
}

impl Decoder<'_> {
    /// Goes on with what an earlier decoder learned.
    pub(super) fn go_on(&mut self) {
        let mut learned = self.streams.learned();
        let left = learned.what.take().and_then(|what| what.downcast::<Left>().ok());
        self.learned = Some(learned);
        self.known = KnownTopics::within(TOPICS_MAX, OPENINGS_BYTES_MAX);
        // A stream that has changed gives its rows' keys another meaning.
        if let Some(left) = left.filter(|left| left.targets.iter().all(is_current)) {
            self.known = left.known;
            self.shapes = left.shapes;
            let target = |(stream, definition)| Target::new(stream, definition);
            self.targets = left.targets.into_iter().map(target).collect();
        }
    }
}

impl Drop for Decoder<'_> {
    /// Leaves what was learned to the next one.
    fn drop(&mut self) {
        let Some(mut learned) = self.learned.take() else { return };
        if self.targets.len() > STREAMS_MAX {
            return;
        }
        self.shapes.forget_large();
        self.shapes.take_unknown();
        let targets = self.targets.drain(..).map(|t| (t.stream, t.definition)).collect();
        let (known, shapes) = (std::mem::take(&mut self.known), std::mem::take(&mut self.shapes));
        learned.what = Some(Box::new(Left { known, shapes, targets }));
        self.streams.keep(learned);
    }
}

fn is_current((stream, definition): &(Arc<Stream>, Arc<StreamDefinition>)) -> bool {
    Arc::ptr_eq(&stream.definition(), definition)
}
