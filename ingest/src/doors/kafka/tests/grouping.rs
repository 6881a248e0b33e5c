//! Groups, by real sockets.

use super::client::topic_name;
use super::{Client, STREAM, Server};
use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("g"))
}

fn join(member: &StrBytes) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(StrBytes::from_static_str("range"))
        .with_metadata(Bytes::from_static(b"m"));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(StrBytes::from_static_str("consumer"))
        .with_member_id(member.clone())
        .with_protocols(vec![protocol])
}

/// Joins with an id that is given first.
fn enter(client: &mut Client) -> StrBytes {
    let given = client.ask(5, &join(&StrBytes::new()));
    assert_eq!(given.error_code, Code::MemberIdRequired.code());
    client.send(5, &join(&given.member_id));
    given.member_id
}

fn entered(client: &mut Client) -> JoinGroupResponse {
    let joined = client.answer::<JoinGroupRequest>(5);
    assert_eq!(joined.error_code, 0, "{joined:?}");
    joined
}

fn sync(client: &mut Client, joined: &JoinGroupResponse, shares: &[(&StrBytes, &str)]) {
    let share = |(member, share): &(&StrBytes, &str)| {
        SyncGroupRequestAssignment::default()
            .with_member_id((*member).clone())
            .with_assignment(Bytes::copy_from_slice(share.as_bytes()))
    };
    let request = SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(shares.iter().map(share).collect());
    client.send(3, &request);
}

fn heartbeat(client: &mut Client, joined: &JoinGroupResponse) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    client.ask(3, &request).error_code
}

fn commit(offset: i64, generation: i32, member: &StrBytes) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(STREAM))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(member.clone())
        .with_topics(vec![topic])
}

fn committed(client: &mut Client, version: i16) -> i64 {
    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name(STREAM))
        .with_partition_indexes(vec![0]);
    let request =
        OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]));
    client.ask(version, &request).topics[0].partitions[0].committed_offset
}

#[test]
fn two_members_share_and_one_takes_over_when_the_other_goes() {
    let server = Server::start();
    let (mut one, mut two) = (server.client(), server.client());
    let (first, second) = (enter(&mut one), enter(&mut two));
    let (joined, also) = (entered(&mut one), entered(&mut two));
    assert_eq!(joined.generation_id, also.generation_id);
    assert_eq!(joined.leader, also.leader, "one of them leads");
    let one_leads = joined.leader == joined.member_id;
    let leads = if one_leads { &joined } else { &also };
    assert_eq!(leads.members.len(), 2);
    let shares = [(&first, "a"), (&second, "b")];
    sync(&mut one, &joined, if one_leads { &shares } else { &[] });
    sync(&mut two, &also, if one_leads { &[] } else { &shares });
    assert_eq!(one.answer::<SyncGroupRequest>(3).assignment, "a");
    assert_eq!(two.answer::<SyncGroupRequest>(3).assignment, "b");
    assert_eq!((heartbeat(&mut one, &joined), heartbeat(&mut two, &also)), (0, 0));
    let described = DescribeGroupsRequest::default().with_groups(vec![group()]);
    let described = one.ask(4, &described).groups.remove(0);
    assert_eq!((&*described.group_state, described.members.len()), ("Stable", 2));
    assert_eq!(&*described.members[0].client_host, "/127.0.0.1");
    // One says goodbye; the other is told, and shares anew.
    let leaving = MemberIdentity::default().with_member_id(first);
    let leave = LeaveGroupRequest::default().with_group_id(group()).with_members(vec![leaving]);
    assert_eq!(one.ask(3, &leave).members[0].error_code, 0);
    assert_eq!(heartbeat(&mut two, &also), Code::RebalanceInProgress.code());
    two.send(5, &join(&second));
    let alone = entered(&mut two);
    assert_eq!((alone.generation_id, alone.members.len()), (also.generation_id + 1, 1));
    assert_eq!(heartbeat(&mut two, &also), Code::IllegalGeneration.code());
    assert_eq!(heartbeat(&mut one, &joined), Code::UnknownMemberId.code());
}

#[test]
fn committed_offsets_are_there_for_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let log = super::open(directory.path());
    log.create_stream(super::sensors(super::options())).unwrap();
    let (kafka, limits) = (super::KafkaLimits::default(), super::Limits::default());
    let server = Server::over(log, kafka.clone(), limits.clone());
    let mut client = server.client();
    assert_eq!(committed(&mut client, 5), -1);
    for (version, offset) in (2..=7).zip(10..) {
        let answer = client.ask(version, &commit(offset, -1, &StrBytes::new()));
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
        assert_eq!(committed(&mut client, version.min(5)), offset);
    }
    drop(server);
    let server = Server::over(super::open(directory.path()), kafka, limits);
    let mut client = server.client();
    assert_eq!(committed(&mut client, 5), 15);
    let all = OffsetFetchRequest::default().with_group_id(group()).with_topics(None);
    assert_eq!(client.ask(5, &all).topics[0].partitions[0].committed_offset, 15);
    let listed = client.ask(2, &ListGroupsRequest::default());
    assert_eq!(listed.groups[0].group_id, group());
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    assert_eq!(client.ask(1, &delete).results[0].error_code, 0);
    assert_eq!(committed(&mut client, 5), -1);
    assert_eq!(client.ask(1, &delete).results[0].error_code, Code::GroupIdNotFound.code());
}

#[test]
fn only_a_member_of_this_generation_commits_while_there_are_members() {
    let server = Server::start();
    let mut client = server.client();
    let member = enter(&mut client);
    let joined = entered(&mut client);
    let code = |client: &mut Client, generation, member: &StrBytes| {
        client.ask(7, &commit(1, generation, member)).topics[0].partitions[0].error_code
    };
    let now = joined.generation_id;
    assert_eq!(code(&mut client, now, &member), Code::RebalanceInProgress.code());
    sync(&mut client, &joined, &[(&member, "all")]);
    assert_eq!(client.answer::<SyncGroupRequest>(3).assignment, "all");
    assert_eq!(code(&mut client, now, &member), 0);
    assert_eq!(code(&mut client, now - 1, &member), Code::IllegalGeneration.code());
    let other = StrBytes::from_static_str("other");
    assert_eq!(code(&mut client, now, &other), Code::UnknownMemberId.code());
    assert_eq!(code(&mut client, -1, &StrBytes::new()), Code::UnknownMemberId.code());
}

#[test]
fn groups_are_coordinated_here_and_transactions_nowhere() {
    let server = Server::start();
    let mut client = server.client();
    let request = FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("g"));
    for version in 0..=2 {
        let told = client.ask(version, &request);
        assert_eq!((told.error_code, told.port), (0, i32::from(server.served.address.port())));
    }
    let told = client.ask(2, &request.with_key_type(1));
    assert_eq!(told.error_code, Code::TransactionalIdAuthorizationFailed.code());
}

#[test]
fn what_members_say_and_are_given_is_bounded_over_all_groups() {
    let kafka = super::KafkaLimits { members_bytes_max: 100_000, ..Default::default() };
    let server = Server::with(kafka, super::options());
    let mut client = server.client();
    let member = enter(&mut client);
    let joined = entered(&mut client);
    let full = Code::GroupMaxSizeReached.code();
    let large = "x".repeat(100_000);
    sync(&mut client, &joined, &[(&member, &large)]);
    assert_eq!(client.answer::<SyncGroupRequest>(3).error_code, full, "what a leader shares out");
    let mut again = join(&member);
    again.protocols[0].metadata = large.into();
    assert_eq!(client.ask(5, &again).error_code, full, "what a member that is known says");
    sync(&mut client, &joined, &[(&member, "all")]);
    assert_eq!(client.answer::<SyncGroupRequest>(3).assignment, "all");
}
