//! Which request is answered by whom.
//!
//! Promise: answers leave in the order of the requests. Records are decoded, and appended where they may be,
//! when they come; what waits, waits when it is its turn.

use super::groups::Caller;
use super::metadata::api_versions;
use super::produce::Acks;
use super::wire::{Request, Unserved, answer};
use super::{KafkaDoor, elsewhere};
use crate::doors::budget::Permit;
use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, DeleteGroupsRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest,
    InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListOffsetsRequest,
    MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, ProduceRequest,
    SaslHandshakeResponse, SyncGroupRequest,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;

/// What goes back.
#[derive(Debug)]
pub(super) enum Reply {
    /// These bytes; the permit is for them.
    Bytes(Bytes, Option<Permit>),
    /// Nobody waits for it.
    Nothing,
    /// The connection ends without it.
    End,
}

/// A reply that is on its way.
pub(super) type Answer = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// The connection a request came on.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// Where it reached the door.
    pub(super) here: SocketAddr,
    /// Where it is.
    pub(super) from: IpAddr,
    /// Says that nobody will wait for answers any more.
    pub(super) closing: watch::Receiver<bool>,
}

impl KafkaDoor {
    /// Takes a frame; `permit` is for its bytes.
    /// # Errors
    /// The connection ends.
    pub(super) async fn take(
        self: &Arc<Self>,
        frame: Bytes,
        permit: Permit,
        client: &Client,
    ) -> Result<Answer, Unserved> {
        let mut request = match Request::read(frame) {
            Ok(request) => request,
            Err(Unserved::NewerVersions { correlation, .. }) => {
                let response = api_versions(Code::UnsupportedVersion.code());
                return Ok(known(reply(correlation, 0, &response)));
            }
            Err(unserved) => return Err(unserved),
        };
        let (correlation, version, key) = (request.correlation, request.version, request.key);
        let name = ApiKey::try_from(key).map_or("other", word);
        self.count("weir_kafka_requests_total", name, 1);
        let door = Arc::clone(self);
        Ok(match ApiKey::try_from(key) {
            Ok(ApiKey::Produce) => {
                let asked = request.decode::<ProduceRequest>()?;
                drop(request);
                let producing = self.produce(asked, permit).await;
                Box::pin(async move {
                    let acks = producing.acks;
                    let response = producing.settled(&door).await;
                    match acks {
                        Acks::None => Reply::Nothing,
                        Acks::Durable => reply(correlation, version, &response),
                    }
                })
            }
            Ok(ApiKey::Fetch) => {
                let (asked, closing) = (request.decode::<FetchRequest>()?, client.closing.clone());
                Box::pin(async move {
                    let (response, held) = door.fetch(asked, closing).await;
                    match reply(correlation, version, &response) {
                        Reply::Bytes(bytes, None) => Reply::Bytes(bytes, held),
                        other => other,
                    }
                })
            }
            Ok(ApiKey::ListOffsets) => {
                let asked = request.decode::<ListOffsetsRequest>()?;
                blocking(move || reply(correlation, version, &door.list_offsets(asked)))
            }
            Ok(ApiKey::Metadata) => {
                let asked = request.decode::<MetadataRequest>()?;
                known(reply(correlation, version, &self.metadata(asked, version, client.here)))
            }
            Ok(ApiKey::ApiVersions) => known(reply(correlation, version, &api_versions(0))),
            Ok(ApiKey::SaslHandshake) => {
                // Nobody has an identity here yet: no mechanism is offered.
                let code = Code::UnsupportedSaslMechanism.code();
                let response = SaslHandshakeResponse::default().with_error_code(code);
                known(reply(correlation, version, &response))
            }
            _ => return self.take_of_groups(request, client),
        })
    }

    /// What groups ask, and those who look after them.
    fn take_of_groups(
        self: &Arc<Self>,
        mut request: Request,
        client: &Client,
    ) -> Result<Answer, Unserved> {
        let (correlation, version, key) = (request.correlation, request.version, request.key);
        let (door, closing) = (Arc::clone(self), client.closing.clone());
        Ok(match ApiKey::try_from(key) {
            Ok(ApiKey::FindCoordinator) => {
                let asked = request.decode::<FindCoordinatorRequest>()?;
                let response = self.find_coordinator(&asked, client.here);
                known(reply(correlation, version, &response))
            }
            Ok(ApiKey::JoinGroup) => {
                let asked = request.decode::<JoinGroupRequest>()?;
                let caller = Caller { client: request.client, host: client.from };
                Box::pin(async move {
                    let joined = door.join_group(asked, version, caller, closing).await;
                    reply(correlation, version, &joined)
                })
            }
            Ok(ApiKey::SyncGroup) => {
                let asked = request.decode::<SyncGroupRequest>()?;
                Box::pin(async move {
                    reply(correlation, version, &door.sync_group(asked, closing).await)
                })
            }
            Ok(ApiKey::Heartbeat) => {
                let asked = request.decode::<HeartbeatRequest>()?;
                Box::pin(async move { reply(correlation, version, &door.heartbeat(&asked)) })
            }
            Ok(ApiKey::LeaveGroup) => {
                let asked = request.decode::<LeaveGroupRequest>()?;
                Box::pin(
                    async move { reply(correlation, version, &door.leave_group(&asked, version)) },
                )
            }
            Ok(ApiKey::OffsetCommit) => {
                let asked = request.decode::<OffsetCommitRequest>()?;
                blocking(move || reply(correlation, version, &door.commit_offsets(asked)))
            }
            Ok(ApiKey::OffsetFetch) => {
                let asked = request.decode::<OffsetFetchRequest>()?;
                blocking(move || reply(correlation, version, &door.fetch_offsets(asked)))
            }
            Ok(ApiKey::ListGroups) => {
                blocking(move || reply(correlation, version, &door.list_groups()))
            }
            Ok(ApiKey::DescribeGroups) => {
                let asked = request.decode::<DescribeGroupsRequest>()?;
                blocking(move || reply(correlation, version, &door.describe_groups(asked)))
            }
            Ok(ApiKey::DeleteGroups) => {
                let asked = request.decode::<DeleteGroupsRequest>()?;
                blocking(move || reply(correlation, version, &door.delete_groups(asked)))
            }
            Ok(ApiKey::InitProducerId) => {
                let asked = request.decode::<InitProducerIdRequest>()?;
                blocking(move || reply(correlation, version, &door.init_producer(&asked)))
            }
            Ok(ApiKey::CreateTopics) => {
                let asked = request.decode::<CreateTopicsRequest>()?;
                known(reply(correlation, version, &self.create_topics(asked)))
            }
            Ok(ApiKey::DescribeConfigs) => {
                let asked = request.decode::<DescribeConfigsRequest>()?;
                known(reply(correlation, version, &self.describe_configs(asked)))
            }
            _ => return Err(Unserved::Unknown { key, version }),
        })
    }
}

fn reply<R: Encodable + HeaderVersion>(correlation: i32, version: i16, response: &R) -> Reply {
    match answer(correlation, version, response) {
        Some(bytes) => Reply::Bytes(bytes, None),
        None => {
            tracing::error!(version, "an answer cannot be said in this version");
            Reply::End
        }
    }
}

fn known(reply: Reply) -> Answer {
    Box::pin(std::future::ready(reply))
}

/// An answer that is made where waiting hurts nobody.
fn blocking(make: impl FnOnce() -> Reply + Send + 'static) -> Answer {
    Box::pin(elsewhere(make))
}

/// A word for the counters.
fn word(key: ApiKey) -> &'static str {
    match key {
        ApiKey::Produce => "produce",
        ApiKey::Fetch => "fetch",
        ApiKey::ListOffsets => "list_offsets",
        ApiKey::Metadata => "metadata",
        ApiKey::ApiVersions => "api_versions",
        ApiKey::SaslHandshake => "sasl_handshake",
        ApiKey::OffsetCommit => "offset_commit",
        ApiKey::OffsetFetch => "offset_fetch",
        ApiKey::FindCoordinator => "find_coordinator",
        ApiKey::JoinGroup => "join_group",
        ApiKey::SyncGroup => "sync_group",
        ApiKey::Heartbeat => "heartbeat",
        ApiKey::LeaveGroup => "leave_group",
        ApiKey::InitProducerId => "init_producer_id",
        _ => "other",
    }
}
