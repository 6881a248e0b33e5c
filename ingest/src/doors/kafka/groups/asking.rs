//! What people ask about groups: ListGroups, DescribeGroups, DeleteGroups.

use super::group::{Group, Phase};
use super::member::Member;
use super::{KafkaDoor, check_name};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::delete_groups_response::{
    DeletableGroupResult, DeleteGroupsResponse,
};
use kafka_protocol::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use kafka_protocol::messages::list_groups_response::{ListGroupsResponse, ListedGroup};
use kafka_protocol::messages::{DeleteGroupsRequest, DescribeGroupsRequest, GroupId};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

impl KafkaDoor {
    /// Groups with members, and those that left offsets. Blocks.
    pub(in crate::doors::kafka) fn list_groups(&self) -> ListGroupsResponse {
        let Ok(positions) = self.log.groups() else {
            let code = Code::CoordinatorNotAvailable.code();
            return ListGroupsResponse::default().with_error_code(code);
        };
        let mut all: BTreeMap<String, String> =
            positions.into_iter().map(|position| (position.group, String::new())).collect();
        let groups = self.groups.by_name.lock();
        all.extend(groups.iter().map(|(name, group)| (name.clone(), group.protocol_type.clone())));
        drop(groups);
        let listed = |(name, protocol): (String, String)| {
            ListedGroup::default()
                .with_group_id(GroupId(StrBytes::from_string(name)))
                .with_protocol_type(StrBytes::from_string(protocol))
        };
        ListGroupsResponse::default().with_groups(all.into_iter().map(listed).collect())
    }

    /// Who is in groups. Blocks.
    pub(in crate::doors::kafka) fn describe_groups(
        &self,
        request: DescribeGroupsRequest,
    ) -> DescribeGroupsResponse {
        let kept = self.log.groups().unwrap_or_default();
        let groups = self.groups.by_name.lock();
        let described = |id: GroupId| {
            let answer = DescribedGroup::default().with_authorized_operations(i32::MIN);
            let answer = match groups.get(&*id.0) {
                Some(group) => answer
                    .with_group_state(StrBytes::from_static_str(state(group.phase)))
                    .with_protocol_type(StrBytes::from_string(group.protocol_type.clone()))
                    .with_protocol_data(StrBytes::from_string(group.protocol.clone()))
                    .with_members(members(group)),
                None => {
                    let left = kept.iter().any(|position| position.group == *id.0);
                    let word = if left { "Empty" } else { "Dead" };
                    answer.with_group_state(StrBytes::from_static_str(word))
                }
            };
            answer.with_group_id(id)
        };
        let groups = request.groups.into_iter().map(described).collect();
        DescribeGroupsResponse::default().with_groups(groups)
    }

    /// Forgets offsets of groups that have no members. Blocks.
    pub(in crate::doors::kafka) fn delete_groups(
        &self,
        request: DeleteGroupsRequest,
    ) -> DeleteGroupsResponse {
        let result = |id: GroupId| {
            let code = self.delete_group(&id.0).err().map_or(0, |code| code.code());
            DeletableGroupResult::default().with_group_id(id).with_error_code(code)
        };
        let results = request.groups_names.into_iter().map(result).collect();
        DeleteGroupsResponse::default().with_results(results)
    }

    fn delete_group(&self, name: &str) -> Result<(), Code> {
        check_name(name)?;
        if self.groups.is_active(name) {
            return Err(Code::NonEmptyGroup);
        }
        let kept = self.log.groups().map_err(|_| Code::CoordinatorNotAvailable)?;
        if !kept.iter().any(|position| position.group == name) {
            return Err(Code::GroupIdNotFound);
        }
        self.log.forget_group(name).map_err(|_| Code::CoordinatorNotAvailable)
    }
}

fn state(phase: Phase) -> &'static str {
    match phase {
        Phase::Empty => "Empty",
        Phase::Joining { .. } => "PreparingRebalance",
        Phase::Syncing { .. } => "CompletingRebalance",
        Phase::Stable => "Stable",
    }
}

fn members(group: &Group) -> Vec<DescribedGroupMember> {
    let member = |member: &Member| {
        DescribedGroupMember::default()
            .with_member_id(StrBytes::from_string(member.who.member.clone()))
            .with_group_instance_id(member.who.instance.clone().map(StrBytes::from_string))
            .with_client_id(StrBytes::from_string(member.who.client.clone()))
            .with_client_host(StrBytes::from_string(format!("/{}", member.who.host)))
            .with_member_metadata(member.metadata(&group.protocol))
            .with_member_assignment(member.assignment.clone())
    };
    group.members.values().map(member).collect()
}
