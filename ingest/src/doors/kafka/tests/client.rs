//! The smallest Kafka client that does only what it is told, on the library's codec.

use crate::doors::kafka::rows::{Said, Writing};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    correlation: i32,
}

/// What a record of a batch says: key, value, headers are left out.
pub(super) type Pair<'r> = (Option<&'r str>, &'r str);

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream.set_nodelay(true).expect("set");
        Self { stream, correlation: 0 }
    }

    /// Bytes as they are. The server may have closed already.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream.write_all(bytes) {
            let closed = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
            assert!(closed.contains(&error.kind()), "{error}");
        }
    }

    /// Nothing more is sent; answers still come.
    pub(super) fn close_sending(&mut self) {
        drop(self.stream.shutdown(std::net::Shutdown::Write));
    }

    /// The next answer without its length; `None` if the connection ends before it.
    pub(super) fn frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("a length")];
        self.fill(&mut frame)?;
        Some(frame.into())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) => {
                let gone = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
                assert!(gone.contains(&error.kind()), "{error}");
                None
            }
        }
    }

    /// Sends a request; its answer comes with [`Self::answer`].
    pub(super) fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation += 1;
        let bytes = frame(self.correlation, version, request);
        self.write(&bytes);
    }

    /// The answer to the oldest request of this kind that is not answered yet.
    pub(super) fn answer<R: Request>(&mut self, version: i16) -> R::Response {
        let mut frame = self.frame().expect("an answer");
        let header = R::Response::header_version(version);
        ResponseHeader::decode(&mut frame, header).expect("a header");
        let answer = R::Response::decode(&mut frame, version).expect("an answer");
        assert!(!frame.has_remaining(), "all of it");
        answer
    }

    pub(super) fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.answer::<R>(version)
    }

    /// Records of a topic's first partition; what is said of them.
    pub(super) fn produce(
        &mut self,
        topic: &str,
        records: &[Pair<'_>],
    ) -> PartitionProduceResponse {
        self.produce_batch(topic, 0, batch(records))
    }

    pub(super) fn produce_batch(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Vec<u8>,
    ) -> PartitionProduceResponse {
        let answer = self.ask(8, &produce_request(topic, partition, batch));
        only(answer)
    }
}

/// What is said of the only partition.
pub(super) fn only(mut answer: ProduceResponse) -> PartitionProduceResponse {
    assert_eq!(answer.responses.len(), 1);
    answer.responses[0].partition_responses.remove(0)
}

/// A request with its header and length.
pub(super) fn frame<R: Request>(correlation: i32, version: i16, request: &R) -> BytesMut {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    header.encode(&mut bytes, R::header_version(version)).expect("a header");
    request.encode(&mut bytes, version).expect("a request");
    let length = i32::try_from(bytes.len() - 4).expect("short");
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

pub(super) fn topic_name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

pub(super) fn produce_request(topic: &str, partition: i32, batch: Vec<u8>) -> ProduceRequest {
    let data =
        PartitionProduceData::default().with_index(partition).with_records(Some(batch.into()));
    let topic =
        TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic])
}

/// A batch as producers send it.
pub(super) fn batch(records: &[Pair<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writing = Writing::new(&mut bytes, 0, 0);
    for (offset, (key, value)) in (0..).zip(records) {
        writing.push(&Said { offset, time_ms: 0, key: *key, value, headers: &[] });
    }
    writing.finish();
    bytes
}

/// The same batch as one that a producer may send again.
pub(super) fn sent_by(mut batch: Vec<u8>, producer: i64, epoch: i16, sequence: i32) -> Vec<u8> {
    batch[43..51].copy_from_slice(&producer.to_be_bytes());
    batch[51..53].copy_from_slice(&epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&sequence.to_be_bytes());
    sealed(batch)
}

/// The same batch with its records compressed like that.
pub(super) fn packed(mut batch: Vec<u8>, codec: u8, pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let records = pack(&batch[61..]);
    batch.truncate(61);
    batch.extend(records);
    batch[22] = codec;
    let length = u32::try_from(batch.len() - 12).expect("short");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    sealed(batch)
}

/// Its checksum is made right.
pub(super) fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    batch
}
