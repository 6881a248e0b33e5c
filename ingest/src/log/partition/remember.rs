//! What a partition remembers beside its rows: ids, series, ages; for the next rows and for the seal.

use super::{Partition, Rows};
use crate::log::dedupe::DedupeWindow;
use crate::log::entry::EntryBody;
use crate::log::errors::CatalogError;
use crate::log::frame::Header;
use crate::log::opening::read_point;
use crate::log::producer::ProducerTable;
use crate::log::published::PublishedSegment;
use crate::log::recovery::Known;
use crate::log::seal::{SealTail, UsedSeries};
use crate::log::starts::Start;
use crate::log::writer::Writer;
use crate::model::reading::{DEDUPE, PUBLISHER, SOURCE_TIME};
use crate::model::{AppendTime, SeriesId};
use crate::sabotage::{self, Fault};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Partition {
    pub(super) fn note_rows(&self, writer: &mut Writer, rows: &RecordBatch, header: &Header) {
        if let Rows::Readings { ticks, stamped, .. } = &self.rows {
            ticks.lock().on_rows(self.id, header.max_time, header.append_time);
            // For whoever looks after their sender's clock.
            if let Some(sent) = rows.column_by_name(SOURCE_TIME) {
                stamped.add(PUBLISHER, (sent.len() - sent.null_count()) as u64);
            }
        }
        if let Rows::Readings { .. } = self.rows
            && let Some(series) = rows.column(1).as_primitive_opt::<UInt32Type>()
        {
            writer.use_series(series.values());
        }
        let now = self.env.clock.monotonic_us();
        if let Some(active) = &mut writer.active {
            active.first_rows_at_us.get_or_insert(now);
        }
    }

    pub(super) fn seal_tail(&self, used: &[u64], producers: &ProducerTable) -> SealTail {
        let producers = match producers.snapshot() {
            _ if sabotage::is(Fault::SnapshotDropped) => ProducerTable::default().snapshot(),
            snapshot => snapshot,
        };
        SealTail { series: self.used_series(used), producers }
    }

    fn used_series(&self, used: &[u64]) -> UsedSeries {
        let Rows::Readings { series, .. } = &self.rows else { return Vec::new() };
        let snapshot = series.snapshot();
        let ids = (0..snapshot.len())
            .filter(|id| used.get(id / 64).is_some_and(|word| word & (1 << (id % 64)) != 0));
        ids.map(|id| SeriesId(u32::try_from(id).expect("series ids are u32")))
            .map(|id| (id, Arc::from(snapshot.topic(id))))
            .collect()
    }

    /// Where it is, and what recovery knows of it.
    pub(in crate::log) fn recovery(&self) -> Result<(PathBuf, Known), CatalogError> {
        let (point, stop) = read_point(&self.env.catalog, self.uid)?;
        let start = Start::read(&self.env.catalog, self.uid)?;
        let series = match &self.rows {
            Rows::Readings { durable, .. } => durable.load(Ordering::SeqCst),
            Rows::Internal(_) => 0,
        };
        let directory = self.core.lock().writer.directory.clone();
        Ok((directory, Known { partition_uid: self.uid, series, point, stop, start }))
    }

    /// Remembers the ids stored within the dedupe window before this start.
    pub(in crate::log) fn rebuild_dedupe(
        self: &Arc<Self>,
        mut window: DedupeWindow,
        since: AppendTime,
    ) {
        let first = self.with_published(|published| {
            let recent = |s: &&PublishedSegment| s.summary.max_append_time >= since;
            published.segments.iter().find(recent).map(|s| s.id.base)
        });
        if let Some(first) = first {
            let mut reader = self.reader(first).with_ids();
            // A damaged place ends the search: what lies behind it cannot be read by anybody.
            while let Ok(Some(entry)) = reader.next() {
                if let EntryBody::Rows(rows) = &entry.body {
                    remember(&mut window, rows, entry.append_time);
                }
            }
        }
        self.core.lock().planning.dedupe = Some(window);
    }
}

fn remember(window: &mut DedupeWindow, rows: &RecordBatch, at: AppendTime) {
    let Some(hashes) = rows.column_by_name(DEDUPE) else { return };
    let hashes = hashes.as_fixed_size_binary();
    for row in (0..hashes.len()).filter(|row| hashes.is_valid(*row)) {
        if let Some(hash) = hashes.value(row).first_chunk() {
            window.admit(*hash, at);
        }
    }
}
