//! From what is queued to a group that can be written.
//!
//! Promise: planning touches no file, so that a group can be planned while the one before it is synced.
//! It rests on that one: it begins at its end, and takes its rows and its producers' batches for stored.

use super::{Partition, PartitionState, Rows};
use crate::log::dedupe::DedupeWindow;
use crate::log::errors::AppendError;
use crate::log::frame::{EncodeRoom, FrameSchemas};
use crate::log::group::{Group, Planner, RowKind, Run};
use crate::log::producer::{ProducerTable, Stored};
use crate::log::queue::{Item, Payload};
use crate::model::{AppendTime, Offset, SchemaId};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use std::sync::Arc;

/// What planning alone touches.
#[derive(Debug)]
pub(in crate::log) struct Planning {
    pub(in crate::log) dedupe: Option<DedupeWindow>,
    pub(in crate::log) schemas: Option<Arc<FrameSchemas>>,
    pub(in crate::log) room: EncodeRoom,
}

/// A group that is planned, and not written.
#[derive(Debug)]
pub(in crate::log) struct Ready {
    pub(super) group: Group,
    pub(super) planned: Result<(), ArrowError>,
    pub(super) schemas: Arc<FrameSchemas>,
    /// When its first item came, on the monotonic clock.
    pub(super) queued_us: u64,
}

/// What is there already when a group is planned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before<'a> {
    /// The producers of what is durable.
    pub(super) producers: &'a ProducerTable,
    /// The batches of the group that is being synced.
    pub(super) sent: &'a [Stored],
    pub(super) end: Offset,
}

impl Partition {
    /// Takes what is queued, as much as a group holds.
    pub(super) fn take(&self) -> Vec<Item> {
        let same = |a: &RecordBatch, b: &RecordBatch| match self.rows {
            Rows::Readings { .. } => true,
            Rows::Internal(_) => a.schema_ref() == b.schema_ref(),
        };
        self.queue.take(self.env.config.group_bytes_max, same)
    }

    /// Plans a group of these items; where the partition takes nothing any more they are refused.
    pub(super) fn plan(
        &self,
        planning: &mut Planning,
        items: Vec<Item>,
        before: Before<'_>,
    ) -> Option<Ready> {
        let queued_us = items.first()?.queued_us;
        let Some(first) = self.begin() else {
            for item in items {
                let refused = AppendError::Corrupt { partition: self.id };
                self.env.measured(self.uid).refused(&refused, 1);
                drop(item.reply.send(Err(refused)));
            }
            return None;
        };
        let schemas = self.schemas(planning, &items);
        let mut sending = ProducerTable::default();
        before.sent.iter().for_each(|stored| sending.note(*stored));
        let planner = Planner {
            kind: self.kind(),
            schemas: &schemas,
            partition: self.id,
            dedupe: planning.dedupe.as_mut(),
            producers: before.producers,
            sending,
            room: &mut planning.room,
            next_offset: before.end,
            first,
            draw: &|| self.env.append_clock.draw(),
            group: Group::default(),
            run: Run::default(),
        };
        let (group, planned) = planner.plan(items);
        let measured = self.env.measured(self.uid);
        group.refused.iter().for_each(|error| measured.refused(error, 1));
        Some(Ready { group, planned, schemas, queued_us })
    }

    /// Draws the group's append time so that no reader can miss it: both under one lock. `None` if
    /// the partition takes nothing any more.
    fn begin(&self) -> Option<AppendTime> {
        let mut published = self.published.lock();
        if let PartitionState::Corrupt(_) = published.state {
            return None;
        }
        let first = self.env.append_clock.draw();
        published.in_flight.push_back(first);
        Some(first)
    }

    fn kind(&self) -> RowKind {
        match self.rows {
            Rows::Readings { .. } => RowKind::Readings,
            Rows::Internal(_) => RowKind::Plain,
        }
    }

    /// The schemas of this group: the stream's newest, or those of an internal log's batches.
    fn schemas(&self, planning: &mut Planning, items: &[Item]) -> Arc<FrameSchemas> {
        let wanted = match &self.rows {
            Rows::Readings { current, .. } => {
                let (id, definition) = current.get();
                match &planning.schemas {
                    Some(known) if known.id == id => Arc::clone(known),
                    _ => Arc::new(FrameSchemas::of_stream(id, &definition)),
                }
            }
            Rows::Internal(_) => {
                let batch = items.iter().find_map(|item| match &item.payload {
                    Payload::Rows { batch, .. } => Some(batch.schema()),
                    _ => None,
                });
                match (&planning.schemas, batch) {
                    (Some(known), Some(schema)) if *known.base() == schema => Arc::clone(known),
                    (Some(known), None) => Arc::clone(known),
                    (known, schema) => {
                        let id = known.as_ref().map_or(1, |known| known.id.0 + 1);
                        let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
                        Arc::new(FrameSchemas::new(SchemaId(id), &schema))
                    }
                }
            }
        };
        planning.schemas = Some(Arc::clone(&wanted));
        wanted
    }
}
