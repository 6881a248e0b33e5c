//! JSON rows into columns.
//!
//! Promise: a row is checked in full before anything of it is kept and before its topic gets a
//! series id; a bad row is refused alone, with the sentence that helps.
//! Elsewhere: bodies are cut into rows in `body`, events opened in `event`, Arrow taken in `arrow`.

use super::cells::{cell_into, check_plain_data, dedupe, event_time, wrong};
use super::columns::{Cell, Columns, Head};
use super::envelope::Envelope;
use super::known::{KnownTopics, Place};
use super::scan::{ScanError, Value};
use super::shape::{Form, Level, RowError, Shape};
use super::shapes::{ShapeId, Shapes};
use super::straight::Bits;
use super::time::Minute;
use super::{Decoded, DecodedRows};
use crate::log::{Learned, Stream, Streams};
use crate::model::{
    AppendTime, EventTime, Limits, PartitionId, Refusal, RefusalReason, StreamDefinition,
    UnknownFields, check_topic,
};
use std::borrow::Cow;
use std::sync::Arc;

/// What a refusal takes besides its payload, about.
const REFUSAL_BYTES: usize = 256;

/// Decodes one request, or a file's slice, into columns per (stream, partition).
#[derive(Debug)]
pub struct Decoder<'a> {
    pub(super) streams: &'a Streams,
    order: Order,
    pub(super) known: KnownTopics,
    /// What was learned before this decoder; it goes back when the decoder ends.
    pub(super) learned: Option<Learned>,
    pub(super) shapes: Shapes,
    cells: Vec<Cell>,
    bits: Vec<Bits>,
    minute: Minute,
    pub(super) targets: Vec<Target>,
    refused: Vec<Refusal>,
    rows: Vec<DecodedRows>,
    bytes: usize,
}

/// How rows are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// By partition, as the log wants them.
    Partitions,
    /// As they came; topics are numbered.
    Arrival,
}

/// A stream that rows went to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) stream: Arc<Stream>,
    /// One version for all rows of the request.
    pub(super) definition: Arc<StreamDefinition>,
    /// By partition.
    groups: Vec<Group>,
}

impl Target {
    pub(super) fn new(stream: Arc<Stream>, definition: Arc<StreamDefinition>) -> Self {
        Self { stream, definition, groups: Vec::new() }
    }
}

type Group = Option<(PartitionId, Columns)>;

impl<'a> Decoder<'a> {
    /// A decoder over the streams known at each row; it goes on with what an earlier one learned.
    pub fn new(streams: &'a Streams) -> Self {
        let mut decoder = Self::empty(streams, Order::Partitions);
        decoder.go_on();
        decoder
    }

    fn empty(streams: &'a Streams, order: Order) -> Self {
        Self {
            streams,
            order,
            known: KnownTopics::default(),
            learned: None,
            shapes: Shapes::default(),
            cells: Vec::new(),
            bits: Vec::new(),
            minute: Minute::default(),
            targets: Vec::new(),
            refused: Vec::new(),
            rows: Vec::new(),
            bytes: 0,
        }
    }

    /// A decoder for many rows, of streams that nobody changes meanwhile: the rows of a stream stay in
    /// the order they came, and topics get numbers of the decoder's own instead of series ids.
    pub fn in_arrival_order(streams: &'a Streams) -> Self {
        Self::empty(streams, Order::Arrival)
    }

    /// One JSON reading. `index` is its position in the request, `now` the clock its time is held
    /// against. Never fails: a bad row becomes a [`Refusal`] in [`Decoded`].
    pub fn push_json(&mut self, row: &[u8], index: u32, now: AppendTime) {
        match std::str::from_utf8(row) {
            Ok(text) => self.push_text(text, index, now),
            Err(error) => self.refuse(index, RefusalReason::Utf8(error.valid_up_to()), row),
        }
    }

    /// As [`Self::push_json`], for text.
    #[inline]
    pub(super) fn push_text(&mut self, row: &str, index: u32, now: AppendTime) {
        if let Err(reason) = self.take_whole(row, Envelope::Reading, index, now) {
            self.refuse(index, reason, row.as_bytes());
        }
    }

    /// A row that is all of `row`.
    #[inline]
    pub(super) fn take_whole(
        &mut self,
        row: &str,
        envelope: Envelope<'_>,
        index: u32,
        now: AppendTime,
    ) -> Result<(), RefusalReason> {
        if row.len() > Limits::ROW_BYTES_MAX {
            return Err(too_large(row.len()));
        }
        let space = [' ', '\t', '\r', '\n'];
        let row = row.trim_end_matches(space);
        let start = row.len() - row.trim_start_matches(space).len();
        let (shape, end, found) = match self.begun(row, start, envelope) {
            Some(read) => read,
            None => match self.shapes.read(row, start, envelope.form()) {
                Ok((shape, end)) => (shape, end, None),
                Err(RowError::Scan(error)) => return Err(scan_reason(&error)),
                Err(RowError::Refused { reason, .. }) => return Err(reason),
            },
        };
        if end != row.len() {
            let what = "something follows the object; write one object a line";
            return Err(scan_reason(&ScanError::Syntax { at: end, what }));
        }
        self.interpret(row, shape, envelope, found, index, now)?;
        // Lines are to be read by what is learned here: a row that is none has no part in it.
        if found.is_none()
            && matches!(envelope, Envelope::Reading)
            && !row.contains('\n')
            && let Some(topic) = self.shapes.opening(shape)
        {
            self.known.begins(&row[start..], shape, topic.behind(start));
        }
        Ok(())
    }

    /// A row that begins as the last one of the sensor that is next in turn: its shape, its end, its place.
    #[inline]
    fn begun(
        &mut self,
        row: &str,
        start: usize,
        envelope: Envelope<'_>,
    ) -> Option<(ShapeId, usize, Option<Place>)> {
        let Envelope::Reading = envelope else { return None };
        let (number, shape, topic) = self.known.expected(&row.as_bytes()[start..])?;
        let end = self.shapes.read_behind(shape, topic.after(start), row)?;
        Some((shape, end, Some(self.known.follow(number))))
    }

    /// A row inside a larger text, such as an array; where it ends.
    /// # Errors
    /// The text is not JSON from there on.
    pub(super) fn push_element(
        &mut self,
        text: &str,
        at: usize,
        index: u32,
        now: AppendTime,
    ) -> Result<usize, ScanError> {
        self.take_element(text, at, Envelope::Reading, index, now)
    }

    /// As [`Self::push_element`], of what `envelope` says.
    pub(super) fn take_element(
        &mut self,
        text: &str,
        at: usize,
        envelope: Envelope<'_>,
        index: u32,
        now: AppendTime,
    ) -> Result<usize, ScanError> {
        let (end, taken) = match self.shapes.read(text, at, Form::Reading) {
            Err(RowError::Scan(error)) => return Err(error),
            Err(RowError::Refused { reason, end }) => (end, Err(reason)),
            Ok((_, end)) if end - at > Limits::ROW_BYTES_MAX => (end, Err(too_large(end - at))),
            Ok((shape, end)) => (end, self.interpret(text, shape, envelope, None, index, now)),
        };
        if let Err(reason) = taken {
            self.refuse(index, reason, &text.as_bytes()[at..end]);
        }
        Ok(end)
    }

    /// Where a reading ends that begins at `at`; keeps nothing.
    /// # Errors
    /// The text is not JSON from there on.
    pub(super) fn pass_over(&mut self, text: &str, at: usize) -> Result<usize, ScanError> {
        match self.shapes.read(text, at, Form::Reading) {
            Err(RowError::Scan(error)) => Err(error),
            Err(RowError::Refused { end, .. }) | Ok((_, end)) => Ok(end),
        }
    }

    /// Keeps a refusal.
    pub fn refuse(&mut self, index: u32, reason: RefusalReason, row: &[u8]) {
        let payload = row[..row.len().min(Limits::DEAD_LETTER_BYTES_MAX)].to_vec();
        self.bytes += REFUSAL_BYTES + payload.len();
        self.refused.push(Refusal { index, reason, payload });
    }

    /// Keeps rows that are columns already.
    pub(super) fn keep(&mut self, rows: DecodedRows) {
        self.bytes += rows.batch.get_array_memory_size();
        self.rows.push(rows);
    }

    /// Forgets everything since the last [`Self::finish`].
    pub(super) fn discard(&mut self) {
        self.forget();
        self.rows.clear();
        self.refused.clear();
        self.bytes = 0;
    }

    /// About what all that is kept takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All rows and refusals since the last call.
    pub fn finish(&mut self) -> Decoded {
        for (target, name, rows) in self.shapes.take_unknown() {
            if rows > 0 {
                self.targets[target].stream.unknown_fields().add(&name, rows);
            }
        }
        for Target { stream, definition, groups } in &mut self.targets {
            for (partition, columns) in groups.drain(..).flatten() {
                self.rows.push(finished(stream, definition, partition, columns));
            }
        }
        let topics = match self.order {
            Order::Arrival => self.known.new_ones(),
            Order::Partitions => {
                self.follow_changes();
                Vec::new()
            }
        };
        let bytes = std::mem::take(&mut self.bytes);
        let rows = std::mem::take(&mut self.rows);
        Decoded { rows, refused: std::mem::take(&mut self.refused), topics, bytes }
    }

    /// Forgets what was learned of streams that have changed since.
    fn follow_changes(&mut self) {
        if self.targets.iter().any(|t| !Arc::ptr_eq(&t.stream.definition(), &t.definition)) {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.targets.clear();
        self.known = self.known.emptied();
        self.shapes = Shapes::default();
    }

    /// The number of the stream among those seen.
    #[inline]
    pub(super) fn target(&mut self, stream: &Arc<Stream>) -> usize {
        let uid = stream.uid();
        if let Some(known) = self.targets.iter().position(|t| t.stream.uid() == uid) {
            return known;
        }
        let definition = stream.definition();
        self.targets.push(Target::new(Arc::clone(stream), definition));
        self.targets.len() - 1
    }

    /// The row just read, from roles to columns; where it goes, which `found` says if it is known already.
    fn interpret(
        &mut self,
        text: &str,
        shape: ShapeId,
        envelope: Envelope<'_>,
        found: Option<Place>,
        index: u32,
        now: AppendTime,
    ) -> Result<(), RefusalReason> {
        let topic = self.topic(text, shape, envelope)?;
        let found = match found {
            Some(place) => Some(place),
            None => self.place(&topic)?,
        };
        let target = match found {
            Some(place) => place.target,
            None => {
                let stream = stream_of(self.streams, &topic)?;
                self.target(&stream)
            }
        };
        let (time, source_time, dedupe) = self.check(text, shape, target, envelope, &topic, now)?;
        // Only now: a refused row must not use up a series id.
        let place = match found {
            Some(place) => place,
            None => match self.order {
                Order::Arrival => self.known.number(&topic, target),
                Order::Partitions => Place::new(target, &self.streams.route(&topic)?),
            },
        };
        let head = Head { time, series: place.series, source_time, dedupe, index };
        self.push(place, |columns, cells, _| columns.push(head, cells, text));
        self.shapes.accepted(shape);
        Ok(())
    }

    /// A row at `start` that begins as the last one of the sensor that is next in turn, and whose values are
    /// written plainly and are what its columns want: where it ends. `None` if it is not such a row, or if
    /// it does not end as `ends` says; nothing is kept then.
    #[inline]
    pub(super) fn take_straight(
        &mut self,
        text: &str,
        start: usize,
        (index, now): (u32, AppendTime),
        ends: impl Fn(&[u8], usize) -> bool,
    ) -> Option<usize> {
        let (number, shape, topic) = self.known.expected(&text.as_bytes()[start..])?;
        let place = self.known.place(number);
        let at = start + topic.end as usize + 1;
        let into = (&mut self.minute, &mut self.bits);
        let (end, time) = self.shapes.read_straight((shape, place.target), text, at, now, into)?;
        if end - start > Limits::ROW_BYTES_MAX || !ends(text.as_bytes(), end) {
            return None;
        }
        self.known.follow(number);
        self.shapes.took_straight(shape);
        let head = Head { time, series: place.series, source_time: None, dedupe: None, index };
        self.push(place, |columns, _, bits| columns.push_bits(head, bits, text));
        Some(end)
    }

    /// Where the rows of a topic go that was seen before.
    #[inline]
    fn place(&mut self, topic: &str) -> Result<Option<Place>, RefusalReason> {
        if let Some(place) = self.known.find(topic) {
            return Ok(Some(place));
        }
        if self.order == Order::Arrival {
            return Ok(None);
        }
        let Some(route) = self.streams.find(topic) else { return Ok(None) };
        route.stream.check_door(topic)?;
        let place = Place::new(self.target(&route.stream), &route);
        self.known.add(topic, place);
        Ok(Some(place))
    }

    #[inline]
    fn topic<'t>(
        &self,
        text: &'t str,
        shape: ShapeId,
        envelope: Envelope<'t>,
    ) -> Result<Cow<'t, str>, RefusalReason> {
        let said = self.shapes.topic(shape).map(|slot| self.shapes.values[slot]);
        let topic = match envelope {
            Envelope::Event { topic, .. } => return Ok(Cow::Borrowed(topic)),
            Envelope::Published { topic } => Some(topic),
            Envelope::Reading => None,
        };
        match (said, topic) {
            (None | Some(Value::Null), Some(topic)) => Ok(Cow::Borrowed(topic)),
            (None | Some(Value::Null), None) => Err(RefusalReason::MissingTopic),
            (Some(Value::Text(said)), Some(topic)) if said.of(text) != topic => {
                Err(wrong("topic", "the topic it is published to", format!("'{}'", said.of(text))))
            }
            (Some(Value::Text(said)), _) => Ok(said.of(text)),
            (Some(other), _) => Err(wrong("topic", "a text", other.describe(text))),
        }
    }

    /// Everything that can refuse a row whose stream is known; leaves the row's cells in `self`.
    #[inline]
    fn check(
        &mut self,
        text: &str,
        shape: ShapeId,
        target: usize,
        envelope: Envelope<'_>,
        topic: &str,
        now: AppendTime,
    ) -> Result<Checked, RefusalReason> {
        let definition = &self.targets[target].definition;
        let options = definition.options();
        self.shapes.assign(shape, target, definition)?;
        let roles = self.shapes.roles(shape);
        let values = &self.shapes.values;
        if options.unknown_fields == UnknownFields::Refuse
            && let Some(slot) = roles.unknown.first()
        {
            let field = self.shapes.name(shape, *slot).to_owned();
            return Err(RefusalReason::UnknownField {
                stream: definition.name().to_owned(),
                field,
            });
        }
        check_plain_data(text, self.shapes.plain_data(shape), roles, values)?;
        let sent = roles.time.map(|slot| values[slot]);
        let (time, source_time) = event_time(text, sent, envelope.time(), options, now)?;
        let columns = definition.columns();
        self.cells.resize(columns.len(), Cell::Null);
        for ((column, slot), cell) in columns.iter().zip(&roles.columns).zip(&mut self.cells) {
            match slot {
                None => *cell = Cell::Null,
                Some(slot) => cell_into(cell, text, column, &values[*slot], options)?,
            }
        }
        let dedupe = match options.dedupe.is_zero() {
            true => None,
            false => dedupe(text, roles, values, envelope, topic)?,
        };
        Ok((time, source_time, dedupe))
    }

    #[inline]
    fn push(&mut self, place: Place, row: impl FnOnce(&mut Columns, &[Cell], &[Bits])) {
        let Target { stream, definition, groups } = &mut self.targets[place.target];
        let group = place.partition.0 as usize;
        if groups.len() <= group {
            groups.resize_with(group + 1, || None);
        }
        let new = || (place.partition, Columns::new(definition));
        let (_, columns) = groups[group].get_or_insert_with(new);
        let before = columns.bytes();
        row(columns, &self.cells, &self.bits);
        self.bytes += columns.bytes() - before;
        if columns.is_full()
            && let Some((partition, full)) = groups[group].take()
        {
            self.rows.push(finished(stream, definition, partition, full));
        }
    }
}

type Checked = (EventTime, Option<EventTime>, Option<[u8; 16]>);

fn finished(
    stream: &Arc<Stream>,
    definition: &StreamDefinition,
    partition: PartitionId,
    columns: Columns,
) -> DecodedRows {
    let (batch, indexes) = columns.finish(definition);
    DecodedRows { stream: Arc::clone(stream), partition, batch, indexes }
}

/// The stream that takes a topic not seen before; hands out nothing.
pub(super) fn stream_of(streams: &Streams, topic: &str) -> Result<Arc<Stream>, RefusalReason> {
    check_topic(topic)?;
    let stream = streams
        .all()
        .into_iter()
        .find(|s| s.definition().template().match_path(topic).is_some())
        .ok_or_else(|| RefusalReason::NoStream(topic.to_owned()))?;
    stream.check_door(topic)?;
    Ok(stream)
}

/// The topic a refused row named, as far as it can be told: for the dead letters.
pub fn topic_of(payload: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(payload).ok()?;
    let (mut shape, mut values) = (Shape::default(), Vec::new());
    let start = text.len() - text.trim_start().len();
    shape.learn(text, start, Form::Flat, &mut values).ok()?;
    let slot = shape.slot(Level::Row, "topic").or_else(|| shape.slot(Level::Row, "subject"))?;
    match values[slot] {
        Value::Text(topic) => Some(topic.of(text).into_owned()),
        _ => None,
    }
}

pub(super) fn scan_reason(error: &ScanError) -> RefusalReason {
    match error {
        ScanError::Syntax { at, what } => RefusalReason::Json(format!("{what} (byte {at})")),
        ScanError::TooDeep => RefusalReason::TooDeep(Limits::JSON_DEPTH_MAX),
    }
}

fn too_large(bytes: usize) -> RefusalReason {
    RefusalReason::TooLarge { bytes, limit: Limits::ROW_BYTES_MAX }
}

#[cfg(test)]
mod tests;
