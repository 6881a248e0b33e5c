//! The only thing that comes back from the log: that rows are durable, or why not (L1).

use super::errors::AppendError;
use crate::model::{AppendTime, Offset, PartitionId};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Rows that are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first row stored.
    pub base_offset: Offset,
    /// Rows stored; duplicates are not.
    pub rows: u32,
    /// When the log took them.
    pub append_time: AppendTime,
    /// Positions in the batch whose id was stored before.
    pub duplicates: Vec<u32>,
}

/// What an append resolves to.
pub type AppendResult = Result<Appended, AppendError>;

/// Resolves when the rows are durable, or will not be.
#[derive(Debug)]
pub struct Receipt {
    partition: PartitionId,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Known(Option<AppendResult>),
    Waiting(oneshot::Receiver<AppendResult>),
}

impl Receipt {
    pub(crate) fn pair(partition: PartitionId) -> (oneshot::Sender<AppendResult>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self { partition, answer: Answer::Waiting(receiver) })
    }

    /// One that is answered already.
    pub fn known(partition: PartitionId, result: AppendResult) -> Self {
        Self { partition, answer: Answer::Known(Some(result)) }
    }

    /// Blocks this thread until the answer is there. Not for asynchronous tasks: they await.
    /// # Errors
    /// Why the rows are not confirmed.
    pub fn wait(self) -> AppendResult {
        let partition = self.partition;
        match self.answer {
            Answer::Known(result) => result.unwrap_or_else(|| Err(lost(partition))),
            Answer::Waiting(receiver) => {
                receiver.blocking_recv().unwrap_or_else(|_| Err(lost(partition)))
            }
        }
    }

    /// The answer if it is there already, for code that pumps the log itself.
    pub fn try_take(&mut self) -> Option<AppendResult> {
        match &mut self.answer {
            Answer::Known(result) => result.take(),
            Answer::Waiting(receiver) => match receiver.try_recv() {
                Ok(result) => Some(result),
                Err(oneshot::error::TryRecvError::Empty) => None,
                Err(oneshot::error::TryRecvError::Closed) => Some(Err(lost(self.partition))),
            },
        }
    }
}

impl Future for Receipt {
    type Output = AppendResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<AppendResult> {
        let partition = self.partition;
        match &mut self.answer {
            Answer::Known(result) => {
                Poll::Ready(result.take().unwrap_or_else(|| Err(lost(partition))))
            }
            Answer::Waiting(receiver) => {
                Pin::new(receiver).poll(context).map(|r| r.unwrap_or_else(|_| Err(lost(partition))))
            }
        }
    }
}

/// The committer went away without an answer: nobody can say.
fn lost(partition: PartitionId) -> AppendError {
    AppendError::Unknown { partition, detail: Arc::from("its committer is gone") }
}
