//! Partitions that took rows again: how far the rule took each to be.
//!
//! Promise: a row of an open window that is read again after a restart meets the watermark that it met,
//! also behind a return, which no row or tick of its partition tells (S3). What windows that are over
//! met is forgotten.

use crate::stream::grid::PaneIndex;
use crate::stream::watermark::{Progress, Return};
use serde::{Deserialize, Serialize};
use weir_ingest::model::AppendTime;

/// See the module; in the input order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Returns(Vec<Returned>);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Returned {
    appended: AppendTime,
    /// No row that came before it lies in a later pane.
    pane: PaneIndex,
    to: Return,
}

impl Returns {
    /// A partition was taken to be there behind this place of the input, or with the rows of this place.
    pub(super) fn note(&mut self, appended: AppendTime, pane: PaneIndex, to: Return) {
        self.0.push(Returned { appended, pane, to });
    }

    /// None is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets those before which no row of an open window came.
    pub(super) fn forget(&mut self, is_over: impl Fn(PaneIndex) -> bool) {
        self.0.retain(|returned| !is_over(returned.pane));
    }

    /// Brings the lanes as far as these did that an input of this append time met, and forgets them.
    pub(super) fn precede(&mut self, appended: AppendTime, progress: &mut Progress) {
        let before = self.0.iter().take_while(|returned| returned.appended <= appended).count();
        self.0.drain(..before).for_each(|returned| progress.put_forward(&returned.to));
    }
}
