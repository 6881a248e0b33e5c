//! Who to ask, who is who, and what is set: FindCoordinator, InitProducerId, CreateTopics, DescribeConfigs.
//!
//! Promise: ids of producers are durable before they are given, and never given twice. A stream has columns,
//! which CreateTopics cannot say: it is told to CREATE STREAM.

use super::KafkaDoor;
use super::metadata::BROKER;
use super::topics::Topic;
use crate::model::Limits;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicResult, CreateTopicsResponse,
};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
};
use kafka_protocol::messages::{
    CreateTopicsRequest, DescribeConfigsRequest, FindCoordinatorRequest, FindCoordinatorResponse,
    InitProducerIdRequest, InitProducerIdResponse, ProducerId,
};
use kafka_protocol::protocol::StrBytes;
use std::net::SocketAddr;

/// Where the catalog counts producers.
const PRODUCERS: &str = "kafka/producer";
/// Who coordinates a group, and who transactions.
const OF_GROUPS: i8 = 0;
/// Of what settings are asked.
const OF_TOPIC: i8 = 2;
const OF_BROKER: i8 = 4;
/// Where a setting comes from: it is what it always is.
const BY_DEFAULT: i8 = 5;

impl KafkaDoor {
    pub(super) fn find_coordinator(
        &self,
        request: &FindCoordinatorRequest,
        here: SocketAddr,
    ) -> FindCoordinatorResponse {
        let answer = FindCoordinatorResponse::default();
        if request.key_type != OF_GROUPS {
            let why = "there are no transactions here; an idempotent producer needs none";
            return answer
                .with_error_code(Code::TransactionalIdAuthorizationFailed.code())
                .with_error_message(Some(StrBytes::from_static_str(why)))
                .with_node_id((-1).into())
                .with_port(-1);
        }
        answer
            .with_error_message(Some(StrBytes::new()))
            .with_node_id(BROKER)
            .with_host(StrBytes::from_string(here.ip().to_string()))
            .with_port(i32::from(here.port()))
    }

    /// A producer gets an id, or a later epoch of the one it has. Blocks.
    pub(super) fn init_producer(&self, request: &InitProducerIdRequest) -> InitProducerIdResponse {
        let answer = InitProducerIdResponse::default();
        let refused = |code: Code| {
            let answer = InitProducerIdResponse::default().with_error_code(code.code());
            answer.with_producer_id(ProducerId(-1)).with_producer_epoch(-1)
        };
        if request.transactional_id.is_some() {
            return refused(Code::TransactionalIdAuthorizationFailed);
        }
        let (known, epoch) = (request.producer_id, request.producer_epoch);
        if known.0 >= 0 && (0..i16::MAX - 1).contains(&epoch) {
            return answer.with_producer_id(known).with_producer_epoch(epoch + 1);
        }
        match self.log.catalog().next_uid(PRODUCERS).map(i64::try_from) {
            Ok(Ok(id)) => answer.with_producer_id(ProducerId(id)).with_producer_epoch(0),
            Ok(Err(_)) => refused(Code::UnknownServerError),
            Err(error) => {
                tracing::warn!(%error, "a producer gets no id");
                refused(Code::CoordinatorNotAvailable)
            }
        }
    }

    pub(super) fn create_topics(&self, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let result = |topic: CreatableTopic| {
            let (code, why) = match self.topic(&topic.name) {
                Some(_) => (Code::TopicAlreadyExists, "there is a stream of this name"),
                None => (
                    Code::PolicyViolation,
                    "a topic is a stream, and a stream has columns: CREATE STREAM in SQL",
                ),
            };
            CreatableTopicResult::default()
                .with_name(topic.name)
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_static_str(why)))
        };
        let topics = request.topics.into_iter().map(result).collect();
        CreateTopicsResponse::default().with_topics(topics)
    }

    pub(super) fn describe_configs(
        &self,
        request: DescribeConfigsRequest,
    ) -> DescribeConfigsResponse {
        let result = |resource| self.settings(resource);
        let results = request.resources.into_iter().map(result).collect();
        DescribeConfigsResponse::default().with_results(results)
    }

    fn settings(&self, asked: DescribeConfigsResource) -> DescribeConfigsResult {
        let answer = DescribeConfigsResult::default()
            .with_resource_type(asked.resource_type)
            .with_resource_name(asked.resource_name.clone());
        let found = match asked.resource_type {
            OF_TOPIC => self.topic(&asked.resource_name).map(|topic| self.of_topic(&topic)),
            OF_BROKER => Some(Vec::new()),
            _ => None,
        };
        let Some(settings) = found else {
            let known = asked.resource_type == OF_TOPIC;
            let code = if known { Code::UnknownTopicOrPartition } else { Code::InvalidRequest };
            return answer.with_error_code(code.code());
        };
        let wanted = |name: &str| match &asked.configuration_keys {
            Some(keys) => keys.iter().any(|key| **key == *name),
            None => true,
        };
        let setting = |(name, value): (&'static str, String)| {
            DescribeConfigsResourceResult::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_string(value)))
                .with_read_only(true)
                .with_config_source(BY_DEFAULT)
        };
        let settings = settings.into_iter().filter(|(name, _)| wanted(name));
        answer.with_configs(settings.map(setting).collect())
    }

    fn of_topic(&self, topic: &Topic) -> Vec<(&'static str, String)> {
        let retention = match topic {
            Topic::Stream(stream, _) => {
                stream.definition().options().retention.age.map(|age| age.as_millis().to_string())
            }
            Topic::Alarms { .. } => None,
        };
        let most = self.limits.request_bytes_max.min(Limits::FRAME_BODY_BYTES_MAX);
        vec![
            ("cleanup.policy", "delete".to_owned()),
            ("compression.type", "uncompressed".to_owned()),
            ("max.message.bytes", most.to_string()),
            ("message.timestamp.type", "CreateTime".to_owned()),
            ("min.insync.replicas", "1".to_owned()),
            ("retention.ms", retention.unwrap_or_else(|| "-1".to_owned())),
        ]
    }
}
