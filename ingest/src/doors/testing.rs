//! What the tests of all doors share: a door on a socket, and what is in the log behind it.

use super::listen;
use crate::log::{EntryBody, Log, Partition};
use crate::model::Offset;
use arrow::array::RecordBatch;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A door that listens on loopback, on a runtime of its own; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Served {
    /// Serves until what `serve` is given resolves.
    pub(crate) fn by<F: Future<Output = ()>>(
        serve: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (bound, address) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = listen(([127, 0, 0, 1], 0).into()).await.expect("a listener");
                bound.send(listener.local_addr().expect("an address")).expect("sent");
                serve(listener, stopped).await;
            });
        });
        let address = address.recv().expect("bound");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Does not wait until it has ended.
    pub(crate) fn tell_stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) fn stop(&mut self) {
        self.tell_stop();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the door ended well");
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

/// All rows of a partition.
pub(crate) fn batches(partition: &Arc<Partition>) -> Vec<RecordBatch> {
    let mut reader = partition.reader(Offset(0));
    let mut batches = Vec::new();
    while let Some(entry) = reader.next().expect("readable") {
        if let EntryBody::Rows(batch) = entry.body {
            batches.push(batch);
        }
    }
    batches
}

/// Rows in the only partition of the stream `sensors`.
pub(crate) fn rows(log: &Log) -> usize {
    let stream = log.streams().get("sensors").expect("the stream");
    batches(&stream.partitions()[0]).iter().map(RecordBatch::num_rows).sum()
}
