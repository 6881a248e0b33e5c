//! Versions of the reference tables that readings which wait look at.
//!
//! Promise: what they take is known, however many readings wait; a version that nobody looks at any more
//! is not counted.

use crate::stream::lookup::Dated;
use std::sync::{Arc, Weak};

/// The oldest first.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<(Weak<Tables>, usize)>);

type Tables = <Dated as std::ops::Deref>::Target;

impl Seen {
    /// Readings wait that look at these.
    pub(super) fn note(&mut self, tables: &Dated) {
        let newest = self.0.last().map(|(known, _)| known.as_ptr());
        if newest == Some(Arc::as_ptr(tables)) {
            return;
        }
        self.0.retain(|(known, _)| known.strong_count() > 0);
        let bytes = tables.values().map(|table| table.bytes()).sum();
        self.0.push((Arc::downgrade(tables), bytes));
    }

    /// What those take that are still looked at.
    pub(super) fn bytes(&self) -> usize {
        let looked_at = self.0.iter().filter(|(known, _)| known.strong_count() > 0);
        looked_at.map(|(_, bytes)| bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::dated::DatedRows;
    use arrow::array::{Int64Array, RecordBatch};
    use std::collections::BTreeMap;

    fn tables(rows: usize) -> Dated {
        let column = Arc::new(Int64Array::from(vec![7; rows])) as arrow::array::ArrayRef;
        let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let dated = DatedRows::new(batch, vec![0; rows], vec![i64::MAX; rows]);
        Arc::new(BTreeMap::from([("weights".to_owned(), Arc::new(dated))]))
    }

    #[test]
    fn each_version_counts_once_and_only_while_somebody_looks_at_it() {
        let mut seen = Seen::default();
        let (first, second) = (tables(1_000), tables(1_000));
        seen.note(&first);
        let one = seen.bytes();
        assert!(one >= 24_000, "{one}");
        seen.note(&first);
        assert_eq!(seen.bytes(), one);
        seen.note(&second);
        assert_eq!(seen.bytes(), 2 * one);
        drop(first);
        assert_eq!(seen.bytes(), one);
    }
}
