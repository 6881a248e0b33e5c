use super::*;
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

const SECOND: u64 = 1_000_000;

fn who(member: &str, protocols: &[&str]) -> Candidate {
    let protocol = |name: &&str| ((*name).to_owned(), Bytes::from(format!("{member}:{name}")));
    Candidate {
        member: member.to_owned(),
        instance: None,
        client: "c".to_owned(),
        host: std::net::Ipv4Addr::LOCALHOST.into(),
        session_us: 10 * SECOND,
        rebalance_us: 30 * SECOND,
        protocol_type: "consumer".to_owned(),
        protocols: protocols.iter().map(protocol).collect(),
    }
}

fn join(
    group: &mut Group,
    who: Candidate,
    fresh: &str,
    now: u64,
) -> Receiver<Result<Joined, Rejected>> {
    let (to, told) = tokio::sync::oneshot::channel();
    group.join(who, fresh.to_owned(), to, SECOND, now);
    told
}

fn sync(
    group: &mut Group,
    member: &str,
    shares: &[(&str, &'static str)],
    now: u64,
) -> Receiver<Result<Bytes, Code>> {
    let (to, told) = tokio::sync::oneshot::channel();
    let share = |(id, share): &(&str, &'static str)| ((*id).to_owned(), Bytes::from(*share));
    let generation = group.generation;
    group.sync(member, None, generation, shares.iter().map(share).collect(), to, now);
    told
}

/// A group of `a` and `b`, its work shared out.
fn stable() -> Group {
    let mut group = Group::new();
    let mut a = join(&mut group, who("", &["range"]), "a", 0);
    let mut b = join(&mut group, who("", &["range"]), "b", 0);
    assert!(matches!(a.try_recv(), Err(TryRecvError::Empty)), "others are waited for");
    group.sweep(SECOND);
    assert_eq!(a.try_recv().unwrap().unwrap().members.len(), 2, "the first one leads");
    assert_eq!(b.try_recv().unwrap().unwrap().leader, "a");
    let mut second = sync(&mut group, "b", &[], SECOND);
    assert!(matches!(second.try_recv(), Err(TryRecvError::Empty)), "until the leader shares");
    let mut first = sync(&mut group, "a", &[("a", "1"), ("b", "2")], SECOND);
    assert_eq!(first.try_recv().unwrap().unwrap(), "1");
    assert_eq!(second.try_recv().unwrap().unwrap(), "2");
    group
}

#[test]
fn a_member_that_is_silent_is_out_and_the_others_share_anew() {
    let mut group = stable();
    assert_eq!(group.heartbeat("b", None, 1, 9 * SECOND), Ok(()));
    group.sweep(12 * SECOND);
    assert_eq!(group.heartbeat("a", None, 1, 12 * SECOND), Err(Code::UnknownMemberId));
    assert_eq!(group.heartbeat("b", None, 1, 12 * SECOND), Err(Code::RebalanceInProgress));
    let mut again = join(&mut group, who("b", &["range"]), "x", 12 * SECOND);
    let joined = again.try_recv().unwrap().unwrap();
    assert_eq!((joined.generation, &*joined.leader, joined.members.len()), (2, "b", 1));
}

#[test]
fn whoever_does_not_join_again_is_waited_for_and_then_out() {
    let mut group = stable();
    let mut c = join(&mut group, who("", &["range"]), "c", 2 * SECOND);
    let mut a = join(&mut group, who("a", &["range"]), "x", 2 * SECOND);
    group.sweep(10 * SECOND);
    assert!(matches!(c.try_recv(), Err(TryRecvError::Empty)), "b may still come");
    assert_eq!(group.heartbeat("b", None, 1, 10 * SECOND), Err(Code::RebalanceInProgress));
    group.sweep(20 * SECOND);
    assert!(a.try_recv().unwrap().unwrap().members.len() == 2, "b was silent for its session");
    assert!(c.try_recv().unwrap().is_ok());
}

#[test]
fn the_way_that_all_know_and_most_prefer_is_taken() {
    let mut group = Group::new();
    let mut a = join(&mut group, who("", &["sticky", "range"]), "a", 0);
    let _b = join(&mut group, who("", &["range", "robin"]), "b", 0);
    let mut c = join(&mut group, who("", &["robin"]), "c", 0);
    assert_eq!(c.try_recv().unwrap().unwrap_err().code, Code::InconsistentGroupProtocol);
    group.sweep(SECOND);
    let joined = a.try_recv().unwrap().unwrap();
    assert_eq!(joined.protocol, "range");
    assert_eq!(joined.members[0].2, ":range", "what it said of itself for that way");
}

#[test]
fn a_member_that_asks_again_unchanged_is_told_again_and_nobody_is_disturbed() {
    let mut group = stable();
    let same =
        Candidate { protocols: vec![("range".to_owned(), Bytes::from(":range"))], ..who("b", &[]) };
    let mut told = join(&mut group, same, "x", 2 * SECOND);
    assert_eq!(told.try_recv().unwrap().unwrap().generation, 1);
    assert_eq!(group.phase, Phase::Stable);
    let mut other = join(&mut group, who("b", &["range"]), "x", 2 * SECOND);
    assert!(matches!(other.try_recv(), Err(TryRecvError::Empty)), "it says something else now");
}

#[test]
fn a_name_that_comes_again_shuts_out_the_one_that_had_it() {
    let mut group = Group::new();
    let named =
        |member: &str| Candidate { instance: Some("i".to_owned()), ..who(member, &["range"]) };
    let mut first = join(&mut group, named(""), "a", 0);
    group.sweep(SECOND);
    assert_eq!(first.try_recv().unwrap().unwrap().member, "a");
    let mut second = join(&mut group, named(""), "b", SECOND);
    assert_eq!(second.try_recv().unwrap().unwrap().member, "b");
    let fenced = Err(Code::FencedInstanceId);
    assert_eq!(group.heartbeat("a", Some("i"), 1, SECOND), fenced);
    assert_eq!(group.leave("", Some("i"), SECOND), Ok(()), "by its name");
    assert_eq!(group.phase, Phase::Empty);
}

#[test]
fn a_leader_that_does_not_share_out_is_not_waited_for_for_ever() {
    let mut group = Group::new();
    let _a = join(&mut group, who("", &["range"]), "a", 0);
    let _b = join(&mut group, who("", &["range"]), "b", 0);
    group.sweep(SECOND);
    let mut waiting = sync(&mut group, "b", &[], SECOND);
    assert_eq!(group.heartbeat("a", None, 1, 30 * SECOND), Ok(()), "it lives");
    group.sweep(31 * SECOND);
    assert_eq!(waiting.try_recv().unwrap(), Err(Code::RebalanceInProgress));
    assert_eq!(group.heartbeat("a", None, 1, 31 * SECOND), Err(Code::UnknownMemberId));
}

#[test]
fn ids_that_were_promised_are_kept_for_a_session() {
    let mut group = Group::new();
    group.promise("p".to_owned(), SECOND, 0);
    group.sweep(SECOND / 2);
    assert_eq!(group.size(), 1);
    group.sweep(2 * SECOND);
    assert_eq!(group.size(), 0);
    let mut told = join(&mut group, who("p", &["range"]), "x", 2 * SECOND);
    assert_eq!(told.try_recv().unwrap().unwrap_err().code, Code::UnknownMemberId);
}
