//! A request of every kind, with something in every list.

use super::client::{batch, frame, produce_request, topic_name};
use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

fn text() -> StrBytes {
    StrBytes::from_static_str("text")
}

/// A frame without its length.
pub(in crate::doors::kafka) fn framed(key: i16, version: i16, full: bool) -> Vec<u8> {
    let many = usize::from(full) * 2;
    let bytes = match ApiKey::try_from(key).expect("a request") {
        ApiKey::Produce if full => {
            frame(1, version, &produce_request("s", 0, batch(&[(None, "{}")])))
        }
        ApiKey::Produce => frame(1, version, &ProduceRequest::default()),
        ApiKey::Fetch => {
            let topic = FetchTopic::default()
                .with_topic(topic_name("s"))
                .with_partitions(vec![FetchPartition::default(); many]);
            let mut request = FetchRequest::default().with_topics(vec![topic; many]);
            if version >= 7 {
                let forgotten = ForgottenTopic::default()
                    .with_topic(topic_name("s"))
                    .with_partitions(vec![1; many]);
                request = request.with_forgotten_topics_data(vec![forgotten; many]);
            }
            frame(1, version, &request)
        }
        ApiKey::ListOffsets => {
            let topic = ListOffsetsTopic::default()
                .with_name(topic_name("s"))
                .with_partitions(vec![ListOffsetsPartition::default(); many]);
            frame(1, version, &ListOffsetsRequest::default().with_topics(vec![topic; many]))
        }
        ApiKey::Metadata => {
            let topic = MetadataRequestTopic::default().with_name(Some(topic_name("s")));
            let topics = Some(vec![topic; many]);
            frame(1, version, &MetadataRequest::default().with_topics(topics))
        }
        ApiKey::OffsetCommit => {
            let partition =
                OffsetCommitRequestPartition::default().with_committed_metadata(Some(text()));
            let topic = OffsetCommitRequestTopic::default()
                .with_name(topic_name("s"))
                .with_partitions(vec![partition; many]);
            frame(1, version, &OffsetCommitRequest::default().with_topics(vec![topic; many]))
        }
        ApiKey::OffsetFetch => {
            let topic = OffsetFetchRequestTopic::default()
                .with_name(topic_name("s"))
                .with_partition_indexes(vec![1; many]);
            frame(1, version, &OffsetFetchRequest::default().with_topics(Some(vec![topic; many])))
        }
        ApiKey::FindCoordinator => {
            frame(1, version, &FindCoordinatorRequest::default().with_key(text()))
        }
        ApiKey::JoinGroup => {
            let protocol = JoinGroupRequestProtocol::default()
                .with_name(text())
                .with_metadata(Bytes::from_static(b"m"));
            frame(1, version, &JoinGroupRequest::default().with_protocols(vec![protocol; many]))
        }
        ApiKey::Heartbeat => frame(1, version, &HeartbeatRequest::default()),
        ApiKey::LeaveGroup => {
            let mut request = LeaveGroupRequest::default();
            if version >= 3 {
                request = request.with_members(vec![MemberIdentity::default(); many]);
            }
            frame(1, version, &request)
        }
        ApiKey::SyncGroup => {
            let share = SyncGroupRequestAssignment::default()
                .with_member_id(text())
                .with_assignment(Bytes::from_static(b"a"));
            frame(1, version, &SyncGroupRequest::default().with_assignments(vec![share; many]))
        }
        ApiKey::DescribeGroups => {
            let groups = vec![GroupId(text()); many];
            frame(1, version, &DescribeGroupsRequest::default().with_groups(groups))
        }
        ApiKey::ListGroups => frame(1, version, &ListGroupsRequest::default()),
        ApiKey::SaslHandshake => frame(1, version, &SaslHandshakeRequest::default()),
        ApiKey::ApiVersions => frame(1, version, &ApiVersionsRequest::default()),
        ApiKey::CreateTopics => {
            let assignment =
                CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1); many]);
            let config = CreatableTopicConfig::default().with_name(text());
            let topic = CreatableTopic::default()
                .with_name(topic_name("s"))
                .with_assignments(vec![assignment; many])
                .with_configs(vec![config; many]);
            frame(1, version, &CreateTopicsRequest::default().with_topics(vec![topic; many]))
        }
        ApiKey::InitProducerId => frame(1, version, &InitProducerIdRequest::default()),
        ApiKey::DescribeConfigs => {
            let resource = DescribeConfigsResource::default()
                .with_resource_name(text())
                .with_configuration_keys(full.then(|| vec![text(); many]));
            let resources = vec![resource; many];
            frame(1, version, &DescribeConfigsRequest::default().with_resources(resources))
        }
        ApiKey::DeleteGroups => {
            let names = vec![GroupId(text()); many];
            frame(1, version, &DeleteGroupsRequest::default().with_groups_names(names))
        }
        other => panic!("{other:?} is not served"),
    };
    bytes[4..].to_vec()
}
