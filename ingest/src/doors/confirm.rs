//! Decoded rows into the log, and what the client is told (L1).
//!
//! Promise: a row is confirmed only when its partition's receipt says it is durable; when a
//! partition fails the answer says which rows are confirmed and which are not.

use super::answer::ErrorAnswer;
use super::asked::{Ack, Asked, Validate};
use super::budget::{OverBudget, Permit};
use super::dead_letters::{Kept, Letters};
use super::producer::{Sender, one_each};
use super::{Door, receive::over_budget};
use crate::decode::{Decoded, DecodedRows, topic_of};
use crate::log::{AppendError, Appended, CatalogError, Receipt};
use crate::model::{AppendTime, Refusal};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Refused rows an answer lists.
const REFUSED_LISTED_MAX: usize = 100;

/// What became of a request.
#[derive(Debug, Default)]
struct Outcome {
    accepted: u64,
    duplicates: u64,
    confirmed: Vec<u32>,
    unconfirmed: Vec<u32>,
    failures: Vec<AppendError>,
    letters: Kept,
}

/// Appends what was decoded, waits until it is durable, and answers.
pub(super) async fn confirm(
    door: &Door,
    name: &'static str,
    decoded: Decoded,
    mut permit: Permit,
    asked: Asked,
    now: AppendTime,
) -> Response {
    door.metrics.decoded(&decoded);
    if let Err(refused) = door.keeper.knows(asked.source) {
        return refused.into_response();
    }
    if asked.validate == Validate::All && !decoded.refused.is_empty() {
        return all_or_nothing(&decoded).into_response();
    }
    let bytes_max = door.limits.partition_bytes_max;
    let room = || door.keeper.room(bytes_max, &decoded.rows);
    if let Err(error) = permit.grow_to(decoded.bytes).and_then(|()| room()) {
        return over_budget(error).into_response();
    }
    let Decoded { rows, refused, .. } = decoded;
    let rows = match asked.source {
        None => rows,
        Some(_) => match one_each(rows) {
            Ok(rows) => rows,
            Err(refused) => return refused.into_response(),
        },
    };
    let topic = |refusal: &Refusal| topic_of(&refusal.payload);
    let letters = door.keeper.dead_letters(&door.log, name, &refused, topic, now);
    let sender = Sender::new(asked.source);
    let waiting: Vec<(Receipt, Vec<u32>)> =
        rows.into_iter().flat_map(|rows| door.keeper.append(&sender, rows)).collect();
    let queued: usize = waiting.iter().map(|(_, indexes)| indexes.len()).sum();
    let mut under_way = UnderWay { waiting, letters, permit };
    let mut outcome = Outcome::default();
    if asked.ack == Ack::None {
        under_way.take_answered(&mut outcome);
        if outcome.failures.is_empty() && queued > 0 {
            tokio::spawn(async move { under_way.finish(&mut Outcome::default()).await });
            return unheard(queued, &refused);
        }
    }
    under_way.finish(&mut outcome).await;
    outcome.answer(&refused)
}

/// Rows on their way into the log, and the bytes they hold until they are there.
struct UnderWay {
    waiting: Vec<(Receipt, Vec<u32>)>,
    letters: Letters,
    permit: Permit,
}

impl UnderWay {
    /// Takes the answers that are there at once: a full or a damaged partition is told to anybody.
    fn take_answered(&mut self, outcome: &mut Outcome) {
        for (mut receipt, indexes) in std::mem::take(&mut self.waiting) {
            match receipt.try_take() {
                Some(result) => outcome.take(result, indexes),
                None => self.waiting.push((receipt, indexes)),
            }
        }
    }

    /// Waits for the rest.
    async fn finish(self, outcome: &mut Outcome) {
        for (receipt, indexes) in self.waiting {
            outcome.take(receipt.await, indexes);
        }
        outcome.letters = self.letters.kept().await;
        drop(self.permit);
    }
}

/// The answer to one who does not wait.
fn unheard(queued: usize, refused: &[Refusal]) -> Response {
    let mut members = Counts::new(0, 0, refused).members();
    members.remove("accepted");
    members.remove("duplicates");
    members.insert("queued".to_owned(), json!(queued));
    (StatusCode::ACCEPTED, Json(members)).into_response()
}

/// One partition whose disk is slow must not use up the budget of all (P10).
pub(super) fn room(bytes_max: usize, rows: &[DecodedRows]) -> Result<(), OverBudget> {
    let waiting =
        |rows: &DecodedRows| rows.stream.partitions()[rows.partition.0 as usize].waiting_bytes();
    match rows.iter().all(|rows| waiting(rows) <= bytes_max) {
        true => Ok(()),
        false => Err(OverBudget::Partition),
    }
}

pub(super) fn append(rows: DecodedRows) -> (Receipt, Vec<u32>) {
    Sender::new(None).append(rows)
}

impl Outcome {
    fn take(&mut self, result: Result<Appended, AppendError>, indexes: Vec<u32>) {
        match result {
            Ok(appended) => {
                self.accepted += u64::from(appended.rows);
                self.duplicates += appended.duplicates.len() as u64;
                self.confirmed.extend(indexes);
            }
            Err(error) => {
                self.failures.push(error);
                self.unconfirmed.extend(indexes);
            }
        }
    }

    fn answer(mut self, refused: &[Refusal]) -> Response {
        if !self.failures.is_empty() {
            return self.failed(refused).into_response();
        }
        if self.confirmed.is_empty() && !refused.is_empty() {
            return all_refused(refused, self.letters).into_response();
        }
        Json(self.counts(refused)).into_response()
    }

    fn counts(&self, refused: &[Refusal]) -> Counts {
        Counts::new(self.accepted, self.duplicates, refused)
    }

    /// Some partition did not confirm.
    fn failed(&mut self, refused: &[Refusal]) -> ErrorAnswer {
        let full = self.failures.iter().all(is_full);
        let shut_out = self.failures.iter().any(is_final);
        let (status, message) = if shut_out {
            (StatusCode::CONFLICT, "the producer may not send this")
        } else if full {
            (StatusCode::INSUFFICIENT_STORAGE, "the disk is full")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not all rows are confirmed")
        };
        let mut details: Vec<String> = self.failures.iter().map(ToString::to_string).collect();
        details.sort();
        details.dedup();
        let mut rest = self.counts(refused).members();
        self.confirmed.sort_unstable();
        self.unconfirmed.sort_unstable();
        rest.insert("confirmed".to_owned(), json!(self.confirmed));
        rest.insert("unconfirmed".to_owned(), json!(self.unconfirmed));
        let answer = ErrorAnswer::new(status, message).detail(details.join("; ")).with(rest);
        if shut_out {
            return answer
                .hint("'detail' says for which partition and why; do not repeat it as it is");
        }
        answer
            .hint("send the unconfirmed rows again; with an 'id' in each a repeat is known as one")
            .retry_after(if full { 10 } else { 1 })
    }
}

/// Whether sending it again will not help.
fn is_final(error: &AppendError) -> bool {
    matches!(error, AppendError::OutOfOrder { .. } | AppendError::Fenced { .. })
}

pub(super) fn is_full(error: &AppendError) -> bool {
    matches!(error, AppendError::Full { .. } | AppendError::Catalog(CatalogError::Full))
}

fn all_refused(refused: &[Refusal], letters: Kept) -> ErrorAnswer {
    let message = match refused {
        [only] => format!("the row was refused: {}", only.reason),
        _ => format!("all {} rows were refused", refused.len()),
    };
    let hint = match letters {
        Kept::All => "'refused' says why; the rows are in the table dead_letters",
        Kept::NotAll => "'refused' says why; the rows could not be kept",
    };
    ErrorAnswer::new(StatusCode::BAD_REQUEST, message)
        .hint(hint)
        .with(Counts::new(0, 0, refused).members())
}

fn all_or_nothing(decoded: &Decoded) -> ErrorAnswer {
    let (refused, rows) = (decoded.refused.len(), decoded.accepted() + decoded.refused.len());
    let message = format!("{refused} of {rows} rows were refused, so nothing was taken");
    ErrorAnswer::new(StatusCode::BAD_REQUEST, message)
        .hint("without ?validate=all the good rows are kept")
        .with(Counts::new(0, 0, &decoded.refused).members())
}

/// What every answer says of a request's rows.
#[derive(Debug, Serialize)]
struct Counts {
    accepted: u64,
    duplicates: u64,
    refused: Vec<Refused>,
    refused_total: usize,
}

#[derive(Debug, Serialize)]
struct Refused {
    index: u32,
    reason: String,
    code: &'static str,
}

impl Counts {
    fn new(accepted: u64, duplicates: u64, refused: &[Refusal]) -> Self {
        let of = |r: &Refusal| Refused {
            index: r.index,
            reason: r.reason.to_string(),
            code: r.reason.code(),
        };
        let listed = refused.iter().take(REFUSED_LISTED_MAX).map(of).collect();
        Self { accepted, duplicates, refused: listed, refused_total: refused.len() }
    }

    /// As members of an error's answer.
    fn members(self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("accepted".to_owned(), json!(self.accepted));
        members.insert("duplicates".to_owned(), json!(self.duplicates));
        members.insert("refused".to_owned(), json!(self.refused));
        members.insert("refused_total".to_owned(), json!(self.refused_total));
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppendTime, Offset, PartitionId};
    use std::sync::Arc;

    fn stored(rows: u32, duplicates: Vec<u32>) -> Result<Appended, AppendError> {
        let (base_offset, append_time) = (Offset(0), AppendTime(0));
        Ok(Appended { base_offset, rows, append_time, duplicates })
    }

    #[test]
    fn a_failed_partition_is_told_with_the_rows_it_held() {
        let full = || Err(AppendError::Full { partition: PartitionId(1) });
        let failed = || {
            let (partition, detail) = (PartitionId(2), Arc::from("EIO"));
            Err(AppendError::Unknown { partition, detail })
        };
        for (results, status) in [
            (vec![stored(2, vec![1]), full()], 507),
            (vec![stored(2, vec![1]), full(), failed()], 503),
            (vec![stored(2, vec![1]), Err(AppendError::Stopped)], 503),
        ] {
            let mut outcome = Outcome::default();
            let mut next = 0;
            for result in results {
                let n = if result.is_ok() { 3 } else { 2 };
                outcome.take(result, (next..next + n).rev().collect());
                next += n;
            }
            let answer = outcome.failed(&[]);
            let body = answer.body();
            assert_eq!(answer.status().as_u16(), status, "{body}");
            assert_eq!((&body["accepted"], &body["duplicates"]), (&json!(2), &json!(1)));
            assert_eq!(body["confirmed"], json!([0, 1, 2]));
            assert_eq!(body["unconfirmed"], json!((3..next).collect::<Vec<_>>()));
            assert!(body["error"]["detail"].is_string() && body["error"]["hint"].is_string());
        }
    }
}
