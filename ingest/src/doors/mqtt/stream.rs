//! What a connection is spoken over: a socket, or what is spoken on one.
//!
//! Promise: bytes move only as far as both sides can at once; a connection over which nothing moves holds
//! `FIRST_BYTES` at most.

use bytes::{Buf, BufMut, BytesMut};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::io::poll_read_buf;

/// Bytes of a silent connection that may come before it is asked whether there is room for more.
const FIRST_BYTES: usize = 512;

/// Bytes both ways.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// See the module.
pub(super) struct Stream {
    inner: Box<dyn Duplex>,
    /// What was written may be inside it still.
    unflushed: bool,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("unflushed", &self.unflushed).finish_non_exhaustive()
    }
}

/// What [`Stream::moved`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// The first bytes of more came.
    In,
    /// Something went out, or all of it has.
    Out,
}

impl Stream {
    pub(super) fn new(inner: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { inner: Box::new(inner), unflushed: false }
    }

    /// Nothing that was written waits inside.
    pub(super) fn is_flushed(&self) -> bool {
        !self.unflushed
    }

    /// Waits until bytes came, where `input` wants some, or went out, where there are any. Given up before,
    /// it has done nothing.
    /// # Errors
    /// The other side is gone.
    pub(super) async fn moved(
        &mut self,
        mut input: Option<&mut BytesMut>,
        output: &mut BytesMut,
    ) -> io::Result<Moved> {
        poll_fn(|context| {
            if let Some(input) = &mut input {
                input.reserve(FIRST_BYTES);
                let mut first = (&mut **input).limit(FIRST_BYTES);
                if let Poll::Ready(read) = self.poll_read(&mut first, context)? {
                    return Poll::Ready(Ok(read));
                }
            }
            if output.is_empty() && self.is_flushed() {
                return Poll::Pending;
            }
            self.poll_out(output, context)
        })
        .await
    }

    /// Reads what is there, as far as `into` has room; how many bytes. That the other side is gone is said by
    /// [`Self::moved`], behind what it sent last.
    pub(super) fn read_now(&mut self, into: &mut BytesMut, at_most: usize) -> usize {
        let context = &mut Context::from_waker(Waker::noop());
        let before = into.len();
        while into.len() < before + at_most {
            let rest = before + at_most - into.len();
            let mut rest = (&mut *into).limit(rest);
            let Poll::Ready(Ok(_)) = self.poll_read(&mut rest, context) else { break };
        }
        into.len() - before
    }

    /// Writes what can be written; how many bytes.
    /// # Errors
    /// The other side is gone.
    pub(super) fn write_now(&mut self, output: &mut BytesMut) -> io::Result<usize> {
        let context = &mut Context::from_waker(Waker::noop());
        let before = output.len();
        while !(output.is_empty() && self.is_flushed()) {
            if self.poll_out(output, context)?.is_pending() {
                break;
            }
        }
        Ok(before - output.len())
    }

    fn poll_read(
        &mut self,
        into: &mut impl BufMut,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Moved>> {
        match ready!(poll_read_buf(Pin::new(&mut self.inner), context, into))? {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(Moved::In)),
        }
    }

    fn poll_out(
        &mut self,
        output: &mut BytesMut,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Moved>> {
        let inner = Pin::new(&mut self.inner);
        if output.is_empty() {
            ready!(inner.poll_flush(context))?;
            self.unflushed = false;
            return Poll::Ready(Ok(Moved::Out));
        }
        match ready!(inner.poll_write(context, output))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => {
                output.advance(written);
                self.unflushed = true;
                Poll::Ready(Ok(Moved::Out))
            }
        }
    }

    /// Reads more, at least a byte of it.
    /// # Errors
    /// The other side is gone.
    pub(super) async fn read_more(&mut self, into: &mut BytesMut) -> io::Result<()> {
        self.moved(Some(into), &mut BytesMut::new()).await.map(drop)
    }

    /// Says the last of it and hears the other side out, so that nothing is lost in a reset.
    pub(super) async fn finish(&mut self, last: &[u8]) {
        if self.inner.write_all(last).await.is_err() || self.inner.shutdown().await.is_err() {
            return;
        }
        let mut ignored = [0; 1024];
        while self.inner.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_of_a_silent_connection_come_in_small_until_there_is_room() {
        let (mut far, near) = tokio::io::duplex(4096);
        far.write_all(&[7; 2000]).await.unwrap();
        let (mut stream, mut input) = (Stream::new(near), BytesMut::new());
        assert_eq!(stream.moved(Some(&mut input), &mut BytesMut::new()).await.unwrap(), Moved::In);
        assert_eq!(input.len(), FIRST_BYTES);
        input.reserve(4096);
        assert_eq!(stream.read_now(&mut input, 1000), 1000);
        drop(far);
        assert_eq!(stream.read_now(&mut input, 1000), 2000 - 1000 - FIRST_BYTES, "then the end");
        assert!(stream.moved(Some(&mut input), &mut BytesMut::new()).await.is_err());
        assert_eq!(input, [7; 2000][..]);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_written_on_when_the_other_side_reads() {
        let (mut far, near) = tokio::io::duplex(100);
        let (mut stream, mut output) = (Stream::new(near), BytesMut::from(&[7; 250][..]));
        assert_eq!(stream.write_now(&mut output).unwrap(), 100);
        let mut read = [0; 250];
        let (wrote, heard) = tokio::join!(
            async {
                while !(output.is_empty() && stream.is_flushed()) {
                    assert_eq!(stream.moved(None, &mut output).await.unwrap(), Moved::Out);
                }
            },
            far.read_exact(&mut read)
        );
        assert_eq!((wrote, heard.unwrap(), read), ((), 250, [7; 250]));
    }
}
