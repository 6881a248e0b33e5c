//! The task of one connection: requests in, answers out.
//!
//! Promise: at most `in_flight_max` requests are under way, and bytes are read only with a permit for them
//! (P9). A client that sends slowly, or does not read, is let go.

use super::KafkaDoor;
use super::requests::{Answer, Client, Reply};
use crate::doors::budget::Permit;
use bytes::{Bytes, BytesMut};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

/// Bytes a permit is taken for at once.
const READ_BYTES: usize = 256 * 1024;

/// Serves a connection until it ends or `stop` says so.
pub(super) async fn serve(
    door: &Arc<KafkaDoor>,
    mut stream: TcpStream,
    stop: watch::Receiver<bool>,
) {
    let (Ok(here), Ok(from)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let (reader, writer) = stream.split();
    let (answers, waiting) = mpsc::channel(door.kafka.in_flight_max.max(1));
    let closing = watch::Sender::new(false);
    let client = Client { here, from: from.ip(), closing: closing.subscribe() };
    let gone = closing.subscribe();
    let reads = async {
        let ended = Reading { door, reader, client }.run(answers, stop, gone).await;
        if let Err(what) = ended {
            door.count("weir_kafka_refused_total", what, 1);
        }
        closing.send_replace(true);
    };
    tokio::join!(reads, write(door, writer, waiting, &closing));
}

struct Reading<'c> {
    door: &'c Arc<KafkaDoor>,
    reader: ReadHalf<'c>,
    client: Client,
}

impl Reading<'_> {
    /// Reads requests until there are none; a word says why it read no further.
    async fn run(
        mut self,
        answers: mpsc::Sender<Answer>,
        mut stop: watch::Receiver<bool>,
        mut gone: watch::Receiver<bool>,
    ) -> Result<(), &'static str> {
        loop {
            // Nobody reads on until there is a place for the answer.
            let place = tokio::select! {
                place = answers.reserve() => match place {
                    Ok(place) => place,
                    Err(_) => return Ok(()),
                },
                _ = gone.wait_for(|gone| *gone) => return Ok(()),
            };
            let (frame, permit) = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                _ = gone.wait_for(|gone| *gone) => return Ok(()),
                frame = self.frame() => match frame? {
                    Some(frame) => frame,
                    None => return Ok(()),
                },
            };
            match self.door.take(frame, permit, &self.client).await {
                Ok(answer) => place.send(answer),
                Err(unserved) => {
                    tracing::debug!(%unserved, "a Kafka connection ends");
                    return Err("request");
                }
            }
        }
    }

    /// The next request without its length; `None` where the client has gone.
    async fn frame(&mut self) -> Result<Option<(Bytes, Permit)>, &'static str> {
        let mut length = [0; 4];
        let idle = Duration::from_secs(self.door.kafka.idle_s_max);
        match timeout(idle, self.reader.read_exact(&mut length)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Ok(None),
            Err(_) => return Err("idle"),
        }
        let most = self.door.limits.request_bytes_max;
        let length = usize::try_from(i32::from_be_bytes(length)).ok();
        let length = length.filter(|length| *length <= most).ok_or("length")?;
        let mut permit = self.door.budget.wait(length.min(READ_BYTES)).await;
        let mut frame = BytesMut::new();
        let mut patience = Duration::from_millis(self.door.limits.body_timeout_ms);
        while frame.len() < length {
            let wanted = length.min(frame.len() + READ_BYTES);
            let start = Instant::now();
            // Bytes that are here keep their permit, so two connections may wait for each other: not for ever.
            if timeout(patience, permit.wait_to(wanted)).await.is_err() {
                return Err("budget");
            }
            frame.reserve(wanted - frame.len());
            let mut rest = (&mut self.reader).take((wanted - frame.len()) as u64);
            let left = patience.saturating_sub(start.elapsed());
            match timeout(left, rest.read_buf(&mut frame)).await {
                Ok(Ok(0) | Err(_)) => return Ok(None),
                Ok(Ok(_)) => patience = patience.saturating_sub(start.elapsed()),
                Err(_) => return Err("slow"),
            }
        }
        Ok(Some((frame.freeze(), permit)))
    }
}

/// Writes answers in their order, each when it is there.
async fn write(
    door: &KafkaDoor,
    mut writer: WriteHalf<'_>,
    mut waiting: mpsc::Receiver<Answer>,
    closing: &watch::Sender<bool>,
) {
    let patience = Duration::from_millis(door.kafka.write_timeout_ms);
    let mut ended: io::Result<()> = Ok(());
    while let Some(answer) = waiting.recv().await {
        // What is under way is waited for, whether or not somebody hears of it.
        match (answer.await, ended.is_ok()) {
            (Reply::Bytes(bytes, held), true) => {
                ended = match timeout(patience, writer.write_all(&bytes)).await {
                    Ok(written) => written,
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                };
                drop(held);
            }
            (Reply::End, true) => ended = Err(io::ErrorKind::InvalidData.into()),
            _ => {}
        }
        if ended.is_err() {
            closing.send_replace(true);
            waiting.close();
        }
    }
}
