//! What there is, and what is spoken: Metadata and ApiVersions.
//!
//! Promise: one broker, reached where the client reached it, leads every partition.

use super::KafkaDoor;
use super::shapes::SHAPES;
use super::topics::Topic;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::net::SocketAddr;

/// The number of the only broker.
pub(super) const BROKER: BrokerId = BrokerId(1);
/// What rights are said to be: nothing is said.
const RIGHTS_UNSAID: i32 = i32::MIN;

/// Every request that is served, and its versions.
pub(super) fn api_versions(error_code: i16) -> ApiVersionsResponse {
    let version = |shape: &super::shape::Shape| {
        let (min, max) = shape.said;
        ApiVersion::default().with_api_key(shape.key).with_min_version(min).with_max_version(max)
    };
    ApiVersionsResponse::default()
        .with_error_code(error_code)
        .with_api_keys(SHAPES.iter().map(version).collect())
}

impl KafkaDoor {
    /// The topics asked for, or all of them.
    pub(super) fn metadata(
        &self,
        request: MetadataRequest,
        version: i16,
        here: SocketAddr,
    ) -> MetadataResponse {
        // In version 0 an empty list asks for all, later no list does.
        let named = request.topics.filter(|topics| version > 0 || !topics.is_empty());
        let topics = match named {
            None => self.all_topics().iter().map(described).collect(),
            Some(topics) => topics
                .into_iter()
                .filter_map(|topic| topic.name)
                .map(|TopicName(name)| match self.topic(&name) {
                    Some(topic) => described(&topic),
                    None => unknown(name),
                })
                .collect(),
        };
        MetadataResponse::default()
            .with_brokers(vec![broker(here)])
            .with_cluster_id(Some(StrBytes::from_static_str("weir")))
            .with_controller_id(BROKER)
            .with_cluster_authorized_operations(RIGHTS_UNSAID)
            .with_topics(topics)
    }
}

fn broker(here: SocketAddr) -> MetadataResponseBroker {
    MetadataResponseBroker::default()
        .with_node_id(BROKER)
        .with_host(StrBytes::from_string(here.ip().to_string()))
        .with_port(i32::from(here.port()))
}

fn described(topic: &Topic) -> MetadataResponseTopic {
    let partition = |index: i32| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BROKER)
            .with_leader_epoch(-1)
            .with_replica_nodes(vec![BROKER])
            .with_isr_nodes(vec![BROKER])
    };
    let count = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name()))))
        .with_topic_authorized_operations(RIGHTS_UNSAID)
        .with_partitions((0..count).map(partition).collect())
}

fn unknown(name: StrBytes) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(Code::UnknownTopicOrPartition.code())
        .with_topic_authorized_operations(RIGHTS_UNSAID)
        .with_name(Some(TopicName(name)))
}
