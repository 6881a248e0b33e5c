//! What proofs and fuzz targets see of the door's insides. No part of the interface.
//!
//! Promise: each function takes bytes that may say anything. None panics, and none allocates by a length or a
//! count that was not held against the bytes that are there.

use super::batch::{Batch, Records};
use super::unpack::Unfolding;
use super::wire::Request;
use crate::doors::budget::IngestBudget;
use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, DeleteGroupsRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest,
    InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest,
    ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, ProduceRequest,
    SaslHandshakeRequest, SyncGroupRequest,
};

/// Bytes that records may become here.
const UNPACKED_BYTES_MAX: usize = 256 * 1024;

/// A frame without its length; whether it is a request that is served.
pub fn request(bytes: &[u8]) -> bool {
    let Ok(mut request) = Request::read(Bytes::copy_from_slice(bytes)) else { return false };
    macro_rules! decoded {
        ($($key:ident: $of:ty),* $(,)?) => {
            match ApiKey::try_from(request.key) {
                $(Ok(ApiKey::$key) => request.decode::<$of>().is_ok(),)*
                _ => false,
            }
        };
    }
    decoded! {
        ApiVersions: ApiVersionsRequest,
        CreateTopics: CreateTopicsRequest,
        DeleteGroups: DeleteGroupsRequest,
        DescribeConfigs: DescribeConfigsRequest,
        DescribeGroups: DescribeGroupsRequest,
        Fetch: FetchRequest,
        FindCoordinator: FindCoordinatorRequest,
        Heartbeat: HeartbeatRequest,
        InitProducerId: InitProducerIdRequest,
        JoinGroup: JoinGroupRequest,
        LeaveGroup: LeaveGroupRequest,
        ListGroups: ListGroupsRequest,
        ListOffsets: ListOffsetsRequest,
        Metadata: MetadataRequest,
        OffsetCommit: OffsetCommitRequest,
        OffsetFetch: OffsetFetchRequest,
        Produce: ProduceRequest,
        SaslHandshake: SaslHandshakeRequest,
        SyncGroup: SyncGroupRequest,
    }
}

/// A batch, its checksum made right; how many of its records are some.
pub fn records(bytes: &[u8]) -> u32 {
    let mut bytes = bytes.to_vec();
    if bytes.len() > 21 {
        let checksum = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    }
    let Ok(batch) = Batch::read(Some(bytes.into())) else { return 0 };
    let budget = IngestBudget::new(4 * UNPACKED_BYTES_MAX);
    let mut permit = match budget.take(0) {
        Ok(permit) => permit,
        Err(_) => return 0,
    };
    let mut unfolding = Unfolding::new(&mut permit, 0, UNPACKED_BYTES_MAX);
    let Ok(unpacked) = unfolding.unpack(batch.codec, &batch.records) else { return 0 };
    let mut records = Records::new(&unpacked, batch.count);
    let mut some = 0;
    while let Ok(Some((_, record))) = records.next() {
        record.header(&|name| name == b"topic");
        some += 1;
    }
    some
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors::kafka::shapes::SHAPES;
    use proptest::prelude::*;

    /// What the library writes of each request in each version passes, and decodes.
    #[test]
    fn every_version_that_is_said_to_be_served_passes_and_decodes() {
        use crate::doors::kafka::tests::framed;
        for shape in SHAPES {
            for version in shape.min..=shape.said.1 {
                for full in [false, true] {
                    let frame = framed(shape.key, version, full);
                    assert!(request(&frame), "{} of version {version}", shape.key);
                    let short = &frame[..frame.len() - 1];
                    assert!(frame.len() <= 11 || !request(short), "{} cut", shape.key);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_request_breaks_it(
            which in 0..SHAPES.len(),
            version in 0_i16..10,
            body in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()], 0..200),
        ) {
            let key = SHAPES[which].key;
            let head = [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0; 4], &[0xff, 0xff]].concat();
            request(&[&head[..], &body].concat());
        }

        #[test]
        fn no_batch_breaks_it(
            codec in 0_u8..8,
            count in 0_i32..20,
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = vec![0; 61];
            let length = i32::try_from(49 + body.len()).unwrap();
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            bytes[22] = codec;
            bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
            bytes[57..61].copy_from_slice(&count.to_be_bytes());
            bytes.extend(body);
            records(&bytes);
        }
    }
}
