//! Which key of a row means what in which stream.
//!
//! Promise: each key has exactly one meaning; two keys for one column refuse the row.

use super::shape::{Form, Key, Level, Shape};
use crate::model::{RESERVED_COLUMNS, RefusalReason, StreamDefinition};
use std::collections::HashMap;

/// The slots of a shape as one stream means them.
#[derive(Debug, Default)]
pub(super) struct Roles {
    pub(super) time: Option<usize>,
    pub(super) id: Option<usize>,
    pub(super) source: Option<usize>,
    /// By column: the slot of its value.
    pub(super) columns: Vec<Option<usize>>,
    /// Slots the stream has no column for.
    pub(super) unknown: Vec<usize>,
    /// The first slot whose value is looked at, the topic's apart.
    pub(super) first: usize,
}

enum Role {
    Topic,
    Time,
    Id,
    Source,
    Column(usize),
    /// A `data` that is no object and no column; it is judged by its value.
    Data,
    Unknown,
}

impl Roles {
    /// The roles of `shape`'s keys in a stream.
    /// # Errors
    /// `DuplicateKey` if one column stands both inline and under `data`.
    pub(super) fn of(
        shape: &Shape,
        form: Form,
        stream: &StreamDefinition,
    ) -> Result<Self, RefusalReason> {
        let columns: HashMap<&str, usize> =
            stream.columns().iter().enumerate().map(|(i, c)| (c.name.as_str(), i)).collect();
        let time_field = stream.options().time_field.as_str();
        let time_inline = shape.slot(Level::Row, time_field).is_some();
        let context = Context { shape, form, stream, columns: &columns, time_field, time_inline };
        let first = shape.keys.len();
        let mut roles = Self { columns: vec![None; columns.len()], first, ..Self::default() };
        for (slot, key) in shape.keys.iter().enumerate() {
            roles.take(slot, key, &context)?;
        }
        Ok(roles)
    }

    fn take(&mut self, slot: usize, key: &Key, context: &Context<'_>) -> Result<(), RefusalReason> {
        let role = context.role(key);
        if !matches!(role, Role::Topic | Role::Unknown) {
            self.first = self.first.min(slot);
        }
        match role {
            Role::Topic | Role::Data => {}
            Role::Time => {
                self.time = Some(slot);
                // A stream may also keep its time field as a column.
                if let Some(column) = context.columns.get(key.name.as_str()) {
                    self.columns[*column] = Some(slot);
                }
            }
            Role::Id => self.id = Some(slot),
            Role::Source => self.source = Some(slot),
            Role::Unknown => self.unknown.push(slot),
            Role::Column(column) => {
                if self.columns[column].replace(slot).is_some() {
                    return Err(RefusalReason::DuplicateKey(key.name.clone()));
                }
            }
        }
        Ok(())
    }
}

struct Context<'c> {
    shape: &'c Shape,
    form: Form,
    stream: &'c StreamDefinition,
    columns: &'c HashMap<&'c str, usize>,
    time_field: &'c str,
    time_inline: bool,
}

impl Context<'_> {
    fn role(&self, key: &Key) -> Role {
        let name = key.name.as_str();
        let envelope = key.level == Level::Row && self.form == Form::Reading;
        let column = self.columns.get(name).copied();
        if envelope && name == "topic" {
            return Role::Topic;
        }
        if name == self.time_field && (key.level == Level::Row || !self.time_inline) {
            return Role::Time;
        }
        if RESERVED_COLUMNS.contains(&name) || self.stream.levels().iter().any(|l| l == name) {
            return Role::Unknown;
        }
        // Inline, a column of that name wins: a device that sends its own `id` in every reading must
        // not have all but the first dropped as repeats.
        if envelope && (self.shape.has_data || column.is_none()) {
            match name {
                "id" => return Role::Id,
                "source" => return Role::Source,
                "data" => return Role::Data,
                _ => {}
            }
        }
        column.map_or(Role::Unknown, Role::Column)
    }
}
