//! A client's side of HTTP/1.1 over a blocking socket, as little of it as there can be: it shares the cores with
//! the server.

use std::io::{Read, Write};
use std::net::TcpStream;

/// One HTTP/1.1 connection that waits for each answer.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("TCP_NODELAY is there");
        Self { stream, buffer: vec![0; 64 * 1024] }
    }

    /// Sends a whole request; the answer's status.
    pub(crate) fn send(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).expect("the connection holds");
        let mut filled = 0;
        loop {
            filled += self.stream.read(&mut self.buffer[filled..]).expect("the connection holds");
            if let Some((status, _)) = answer_in(&self.buffer[..filled]) {
                return status;
            }
        }
    }
}

/// Status and length of the answer at the start of `bytes`, if it is all there.
pub(crate) fn answer_in(bytes: &[u8]) -> Option<(u16, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..head]).expect("heads are text");
    let body = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().expect("a length"))
    });
    let length = head + 4 + body.unwrap_or(0_usize);
    let status = text[9..12].parse().expect("a status");
    (bytes.len() >= length).then_some((status, length))
}

pub(crate) fn request(method: &str, path: &str, media: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {media}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}
