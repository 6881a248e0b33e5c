//! Topics that decoders numbered get their series and partitions.
//!
//! Promise: series are given in the order in which topics are first seen in the input, whichever thread
//! decoded them; so a replay gives the same series each time.

use super::arrivals::Taken;
use super::definitions::Definitions;
use crate::stream::input::Lane;
use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::decode::{Decoded, DecodedRows};
use weir_ingest::log::{Route, Stream};
use weir_ingest::model::{RefusalReason, reading};

/// What the topics of each decoder are.
pub(super) struct Topics<'d> {
    definitions: &'d Definitions,
    decoders: Vec<Places>,
}

/// Where the rows of a decoder's topics go, by number.
#[derive(Default)]
struct Places {
    series: Vec<u32>,
    partitions: Vec<u32>,
    /// Why rows of these go nowhere; they stand above, too, and mean nothing there.
    refused: BTreeMap<u32, RefusalReason>,
}

impl Places {
    fn add(&mut self, route: Result<Route, RefusalReason>) {
        let number = u32::try_from(self.series.len()).expect("topics are numbered in 32 bits");
        let place = route.map(|route| (route.series.0, route.partition.0));
        let (series, partition) = place.unwrap_or_else(|reason| {
            self.refused.insert(number, reason);
            (0, 0)
        });
        self.series.push(series);
        self.partitions.push(partition);
    }
}

impl<'d> Topics<'d> {
    pub(super) fn new(definitions: &'d Definitions) -> Self {
        Self { definitions, decoders: Vec::new() }
    }

    /// The rows of a decoded piece in their places; with the refused ones, by line.
    pub(super) fn place(
        &mut self,
        decoder: usize,
        decoded: Decoded,
    ) -> (Vec<Taken>, Vec<(u32, String)>) {
        if self.decoders.len() <= decoder {
            self.decoders.resize_with(decoder + 1, Places::default);
        }
        let streams = self.definitions.log.streams();
        let places = &mut self.decoders[decoder];
        decoded.topics.iter().for_each(|topic| places.add(streams.route(topic)));
        let mut refused: Vec<(u32, String)> =
            decoded.refused.into_iter().map(|r| (r.index, r.reason.to_string())).collect();
        let mut taken = Vec::new();
        for rows in decoded.rows {
            taken.push(self.take(decoder, rows, &mut refused));
        }
        refused.sort_by_key(|(line, _)| *line);
        (taken, refused)
    }

    fn take(&self, decoder: usize, rows: DecodedRows, refused: &mut Vec<(u32, String)>) -> Taken {
        let places = &self.decoders[decoder];
        let rows = without_refused(places, rows, refused);
        let numbers = reading::series_column(&rows.batch).values();
        let of = |places: &[u32]| numbers.iter().map(|number| places[*number as usize]).collect();
        let series: Vec<u32> = of(&places.series);
        let (number, stream) = self.stream_of(&rows.stream);
        let definition = stream.definition();
        let mut columns = rows.batch.columns().to_vec();
        columns[1] = Arc::new(UInt32Array::from(series)) as ArrayRef;
        let batch = RecordBatch::try_new(rows.batch.schema(), columns).expect("as it was");
        let hashes = batch.schema_ref().column_with_name(reading::DEDUPE).map(|(at, _)| at);
        let dedupe = hashes.map(|at| batch.project(&[at]).expect("it is there"));
        let stored = reading::stored_schema(&definition, reading::Hidden::default());
        let partitions = match stream.partitions().len() {
            1 => Lane::Same(0),
            _ => Lane::Each(of(&places.partitions).into()),
        };
        Taken {
            stream: number,
            batch: reading::conform(&batch, &stored),
            partitions,
            definition,
            series: stream.series().snapshot(),
            dedupe,
            lines: rows.indexes,
        }
    }

    fn stream_of(&self, stream: &Arc<Stream>) -> (usize, &'d Arc<Stream>) {
        let own = self.definitions.streams.iter().enumerate();
        own.into_iter().find(|(_, own)| own.uid() == stream.uid()).expect("a stream of the file")
    }
}

/// Rows whose topic got no series are refused after all.
fn without_refused(
    places: &Places,
    rows: DecodedRows,
    refused: &mut Vec<(u32, String)>,
) -> DecodedRows {
    if places.refused.is_empty() {
        return rows;
    }
    let numbers = reading::series_column(&rows.batch).values();
    let mut keep = Vec::with_capacity(numbers.len());
    let mut indexes = Vec::new();
    for (number, line) in numbers.iter().zip(&rows.indexes) {
        let reason = places.refused.get(number);
        match reason {
            None => indexes.push(*line),
            Some(reason) => refused.push((*line, reason.to_string())),
        }
        keep.push(reason.is_none());
    }
    let batch = arrow::compute::filter_record_batch(&rows.batch, &keep.into())
        .expect("one flag for each row");
    DecodedRows { batch, indexes, ..rows }
}
