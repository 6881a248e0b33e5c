//! The few shapes a sender's rows take turns in.
//!
//! Promise: a handful are remembered, the one that followed last time is tried first. One that takes much
//! memory is remembered until another is learned, and goes to no other request (P9).

use super::roles::Roles;
use super::scan::{Span, Text, Value};
use super::shape::{Form, KEYS_MAX, RowError, Shape};
use super::straight::{Bits, Straight};
use super::time::Minute;
use crate::model::{AppendTime, EventTime, RefusalReason, StreamDefinition};

/// More kinds of rows than this in turn are scanned in full.
const SHAPES_MAX: usize = 8;

/// Shapes, and the values of the row read last.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    known: Vec<Known>,
    recent: usize,
    evict: usize,
    learned: u64,
    /// One of them, if it takes more memory than what is remembered may.
    large: Option<usize>,
    pub(super) values: Vec<Value>,
    /// (target, name, rows) of unknown fields that nobody was told of.
    retired: Vec<(usize, String, u64)>,
}

#[derive(Debug)]
struct Known {
    shape: Shape,
    form: Form,
    topic: Option<usize>,
    /// As the target of this number means it.
    roles: Option<(usize, Roles)>,
    /// How rows are read that go there.
    straight: Option<Straight>,
    /// Rows accepted with these roles.
    accepted: u64,
    /// How many shapes had been learned when this one was.
    learned: u64,
    /// Which shape came after this one.
    next: usize,
}

/// Names a shape: of the row that was read last, or of an earlier one that may be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShapeId {
    which: usize,
    learned: u64,
}

impl Shapes {
    /// Reads the row at `at`; its shape and where it ends.
    /// # Errors
    /// Not a row.
    #[inline]
    pub(super) fn read(
        &mut self,
        text: &str,
        at: usize,
        form: Form,
    ) -> Result<(ShapeId, usize), RowError> {
        let guess = self.known.get(self.recent).map_or(0, |k| k.next);
        if let Some(end) = self.try_one(guess, text, at, form) {
            return Ok((self.follow(guess), end));
        }
        for other in 0..self.known.len() {
            if other != guess
                && let Some(end) = self.try_one(other, text, at, form)
            {
                return Ok((self.follow(other), end));
            }
        }
        self.learn(text, at, form)
    }

    #[inline]
    fn try_one(&mut self, which: usize, text: &str, at: usize, form: Form) -> Option<usize> {
        let known = self.known.get(which).filter(|k| k.form == form)?;
        known.shape.read(0, text, at, &mut self.values)
    }

    #[inline]
    fn follow(&mut self, which: usize) -> ShapeId {
        self.known[self.recent].next = which;
        self.recent = which;
        ShapeId { which, learned: self.known[which].learned }
    }

    /// Reads what follows the topic of a row of shape `id`: the topic is the text at `topic`, its closing
    /// quote included in what was read already. Nothing that stands before it is to be asked for; `None`
    /// if the shape is another by now, or the row's.
    #[inline]
    pub(super) fn read_behind(&mut self, id: ShapeId, topic: Span, text: &str) -> Option<usize> {
        let known = self.known.get(id.which).filter(|known| known.learned == id.learned)?;
        let slot = known.topic?;
        let end = known.shape.read(slot + 1, text, topic.end as usize + 1, &mut self.values)?;
        self.values[slot] = Value::Text(Text { span: topic, escaped: false });
        self.follow(id.which);
        Some(end)
    }

    /// Reads what follows the topic of a row of shape `id` that goes to `target`, from `at` on, into `bits`:
    /// where the row ends, and its time. `None` if it is not to be read so.
    #[inline]
    pub(super) fn read_straight(
        &mut self,
        (id, target): (ShapeId, usize),
        text: &str,
        at: usize,
        now: AppendTime,
        (minute, bits): (&mut Minute, &mut Vec<Bits>),
    ) -> Option<(usize, EventTime)> {
        let known = self.known.get(id.which).filter(|known| known.learned == id.learned)?;
        let straight = known.straight.as_ref()?;
        match known.roles {
            Some((of, _)) if of == target => {
                straight.read(&known.shape, text, at, now, minute, bits)
            }
            _ => None,
        }
    }

    /// The row just read straight is kept.
    #[inline]
    pub(super) fn took_straight(&mut self, id: ShapeId) {
        self.follow(id.which);
        self.accepted(id);
    }

    /// Where the topic of the row just read stands, if nothing before it means anything to its stream, and
    /// it is written plainly.
    #[inline]
    pub(super) fn opening(&self, id: ShapeId) -> Option<Span> {
        let slot = self.topic(id)?;
        match self.values[slot] {
            Value::Text(topic) if slot < self.roles(id).first && !topic.escaped => Some(topic.span),
            _ => None,
        }
    }

    #[cold]
    fn learn(&mut self, text: &str, at: usize, form: Form) -> Result<(ShapeId, usize), RowError> {
        self.forget_large();
        let which = self.room();
        self.learned += 1;
        let known = &mut self.known[which];
        known.learned = self.learned;
        known.form = form;
        match known.shape.learn(text, at, form, &mut self.values) {
            Ok(end) => {
                known.topic = known.shape.topic(form);
                self.large = known.shape.is_large().then_some(which);
                Ok((self.follow(which), end))
            }
            Err(error) => {
                known.shape = Shape::default();
                Err(error)
            }
        }
    }

    /// Gives back the memory of the row read last, where that is much.
    pub(super) fn forget_large(&mut self) {
        if let Some(which) = self.large.take() {
            self.retire(which);
            let known = &mut self.known[which];
            (known.shape, known.topic) = (Shape::default(), None);
        }
        if self.values.capacity() > KEYS_MAX {
            self.values = Vec::new();
        }
    }

    /// A place for a new shape.
    fn room(&mut self) -> usize {
        if let Some(unused) = self.known.iter().position(|k| k.shape.is_empty()) {
            return unused;
        }
        if self.known.len() < SHAPES_MAX {
            let next = self.known.len();
            let (shape, form) = (Shape::default(), Form::Reading);
            self.known.push(Known {
                shape,
                form,
                topic: None,
                roles: None,
                straight: None,
                accepted: 0,
                learned: 0,
                next,
            });
            return next;
        }
        self.evict = (self.evict + 1) % SHAPES_MAX;
        self.retire(self.evict);
        self.evict
    }

    /// Slot of the row's `topic`.
    #[inline]
    pub(super) fn topic(&self, id: ShapeId) -> Option<usize> {
        self.known[id.which].topic
    }

    /// Slot of a `data` that is no object.
    #[inline]
    pub(super) fn plain_data(&self, id: ShapeId) -> Option<usize> {
        self.known[id.which].shape.plain_data
    }

    /// Gives the row's keys their roles in the stream of target `target`.
    /// # Errors
    /// As [`Roles::of`].
    #[inline]
    pub(super) fn assign(
        &mut self,
        id: ShapeId,
        target: usize,
        stream: &StreamDefinition,
    ) -> Result<(), RefusalReason> {
        if !matches!(&self.known[id.which].roles, Some((of, _)) if *of == target) {
            self.retire(id.which);
            let known = &mut self.known[id.which];
            let roles = Roles::of(&known.shape, known.form, stream)?;
            known.straight =
                known.topic.and_then(|topic| Straight::of(&known.shape, topic, &roles, stream));
            known.roles = Some((target, roles));
        }
        Ok(())
    }

    /// What was assigned last.
    #[inline]
    pub(super) fn roles(&self, id: ShapeId) -> &Roles {
        let (_, roles) = self.known[id.which].roles.as_ref().expect("roles are assigned first");
        roles
    }

    /// The key in `slot`.
    pub(super) fn name(&self, id: ShapeId, slot: usize) -> &str {
        &self.known[id.which].shape.keys[slot].name
    }

    /// The row was accepted: its unknown fields count.
    #[inline]
    pub(super) fn accepted(&mut self, id: ShapeId) {
        self.known[id.which].accepted += 1;
    }

    /// Forgets the roles of a shape's keys.
    fn retire(&mut self, which: usize) {
        self.tell_unknown(which);
        let known = &mut self.known[which];
        (known.roles, known.straight) = (None, None);
    }

    /// Puts down which fields of the rows accepted so far meant nothing to their stream.
    fn tell_unknown(&mut self, which: usize) {
        let known = &mut self.known[which];
        let accepted = std::mem::take(&mut known.accepted);
        let Some((target, roles)) = &known.roles else { return };
        for slot in &roles.unknown {
            self.retired.push((*target, known.shape.keys[*slot].name.clone(), accepted));
        }
    }

    /// (target, name, rows) of all unknown fields since the last call.
    pub(super) fn take_unknown(&mut self) -> Vec<(usize, String, u64)> {
        for which in 0..self.known.len() {
            self.tell_unknown(which);
        }
        std::mem::take(&mut self.retired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object of `keys` keys that no other has.
    fn row(number: usize, keys: usize) -> String {
        let members: Vec<String> = (0..keys).map(|key| format!("\"{number}-{key}\":1")).collect();
        format!("{{{}}}", members.join(","))
    }

    /// Keys of all that is remembered.
    fn keys(shapes: &Shapes) -> usize {
        shapes.known.iter().map(|known| known.shape.keys.capacity()).sum::<usize>()
    }

    #[test]
    fn a_row_that_is_too_long_teaches_nothing() {
        let text = row(0, 150_000);
        let mut shapes = Shapes::default();
        let read = shapes.read(&text, 0, Form::Reading);
        let end = text.len();
        assert!(
            matches!(&read, Err(RowError::Refused { reason: RefusalReason::TooLarge { .. }, end: at }) if *at == end),
            "{read:?}"
        );
        shapes.forget_large();
        assert!(keys(&shapes) == 0 && shapes.values.capacity() == 0);
    }

    #[test]
    fn a_shape_of_many_keys_is_forgotten_when_another_is_learned() {
        let mut shapes = Shapes::default();
        for number in 0..20 {
            let text = row(number, 5000);
            for _ in 0..2 {
                assert_eq!(shapes.read(&text, 0, Form::Reading).unwrap().1, text.len());
            }
            assert!(keys(&shapes) < 10_000, "{} after {number}", keys(&shapes));
        }
        shapes.forget_large();
        assert!(keys(&shapes) == 0 && shapes.values.capacity() == 0);
        shapes.read(&row(0, 10), 0, Form::Reading).unwrap();
        shapes.forget_large();
        assert!(keys(&shapes) >= 10, "what is small is remembered");
    }
}
