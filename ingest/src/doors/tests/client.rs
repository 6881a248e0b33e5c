//! The smallest HTTP client that can also be rude.

use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    address: SocketAddr,
    unread: Vec<u8>,
}

/// An answer; `body` is null if it is not JSON.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) text: String,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let named =
            |line: &'_ str| line.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
        let line = self.head.lines().find(|line| named(line))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream.set_nodelay(true).expect("set");
        Self { stream, address, unread: Vec::new() }
    }

    pub(super) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "", b"")
    }

    pub(super) fn post(&mut self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        self.send("POST", path, &format!("content-type: {content_type}\r\n"), body)
    }

    pub(super) fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.start(method, path, headers, body.len());
        self.write(body);
        self.answer()
    }

    /// The head of a request whose body has `length` bytes.
    pub(super) fn start(&mut self, method: &str, path: &str, headers: &str, length: usize) {
        let host = self.address;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {length}\r\n\r\n"
        );
        self.write(head.as_bytes());
    }

    /// Bytes as they are. The server may have closed already: its answer says why.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream.write_all(bytes) {
            let closed = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
            assert!(closed.contains(&error.kind()), "{error}");
        }
    }

    pub(super) fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// `None` if the connection ends without one.
    pub(super) fn try_answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more()?;
        };
        let head = String::from_utf8(self.unread[..end].to_vec()).expect("ASCII");
        self.unread.drain(..end);
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let mut answer = Answer { status, head, text: String::new(), body: Value::Null };
        let length =
            answer.header("content-length").and_then(|l| l.parse().ok()).expect("a length");
        while self.unread.len() < length {
            self.read_more()?;
        }
        let body: Vec<u8> = self.unread.drain(..length).collect();
        answer.text = String::from_utf8(body).expect("UTF-8");
        answer.body = serde_json::from_str(&answer.text).unwrap_or(Value::Null);
        Some(answer)
    }

    fn read_more(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => None,
            Ok(n) => {
                self.unread.extend_from_slice(&buffer[..n]);
                Some(())
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }
}
