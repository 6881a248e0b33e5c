//! Where the rows and refusals of a decoded piece stand in arrival order.

use super::arrivals::Taken;
use std::collections::VecDeque;
use std::ops::Range;

/// What follows in arrival order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// These rows of the batch of this number.
    Rows { taken: usize, rows: Range<usize> },
    /// A line that was refused; it counts from the beginning of the piece.
    Refused { line: u32, reason: String },
}

/// The rows of all batches and the refusals, which stand in order each, in the order of their lines.
pub(super) fn segments(taken: &[Taken], refused: Vec<(u32, String)>) -> VecDeque<Segment> {
    let lines: Vec<&[u32]> = taken.iter().map(|taken| taken.lines.as_slice()).collect();
    let mut at = vec![0; lines.len()];
    let mut refused = refused.into_iter().peekable();
    let mut segments = VecDeque::new();
    loop {
        let next = lines.iter().zip(&at).map(|(lines, at)| lines.get(*at));
        let heads = next.enumerate().filter_map(|(number, line)| Some((*line?, number)));
        let refusal = refused.peek().map(|(line, _)| *line);
        let first = heads.clone().min();
        let Some((line, number)) = first.filter(|(line, _)| refusal.is_none_or(|r| *line < r))
        else {
            let Some((line, reason)) = refused.next() else { return segments };
            segments.push_back(Segment::Refused { line, reason });
            continue;
        };
        let others = heads.filter(|(other, _)| *other > line).map(|(line, _)| line);
        let until = others.chain(refusal).min().unwrap_or(u32::MAX);
        let from = at[number];
        let rows = lines[number][from..].partition_point(|line| *line < until);
        at[number] += rows;
        segments.push_back(Segment::Rows { taken: number, rows: from..from + rows });
    }
}
