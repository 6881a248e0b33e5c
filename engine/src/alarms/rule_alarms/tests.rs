use super::*;
use crate::alarms::{
    Authority, Command, Condition, NoData, NoDataAction, Severity, Subjects, Target, TransitionKind,
};
use proptest::prelude::*;
use weir_ingest::model::TopicTemplate;

const S: i64 = 1_000_000;

/// `"limit=80 deadband=2 for=10s off_delay=10s no_data=60s"`; `no_data=60s!` raises.
#[derive(Debug, Clone, Copy)]
struct Case {
    limit: i64,
    deadband: i64,
    condition: Condition,
    no_data: Option<NoData>,
}

fn case(text: &str) -> Case {
    let mut case = Case { limit: 80, deadband: 0, condition: Condition::default(), no_data: None };
    for word in text.split_whitespace() {
        let (name, value) = word.split_once('=').unwrap();
        let number: i64 = value.trim_end_matches('!').trim_end_matches('s').parse().unwrap();
        match name {
            "limit" => case.limit = number,
            "deadband" => case.deadband = number,
            "for" => case.condition.raise_hold_us = number * S,
            "off_delay" => case.condition.clear_hold_us = number * S,
            "no_data" => {
                let raise = value.ends_with('!');
                let action = if raise { NoDataAction::Raise } else { NoDataAction::Hold };
                case.no_data = Some(NoData { after_us: number * S, action });
            }
            other => panic!("{other}"),
        }
    }
    case
}

impl Case {
    fn verdict(&self, value: &str) -> Verdict {
        match value.parse::<i64>() {
            Err(_) => Verdict::Unknown,
            Ok(value) if value > self.limit => Verdict::Raise,
            Ok(value) if value <= self.limit - self.deadband => Verdict::Clear,
            Ok(_) => Verdict::Band,
        }
    }

    fn alarms(&self, judging: Judging) -> RuleAlarms {
        RuleAlarms::new(self.settings(judging, Severity::High))
    }

    fn settings(&self, judging: Judging, severity: Severity) -> RuleSettings {
        let template = TopicTemplate::parse("/site/{site}/sensor/{sensor}").unwrap();
        RuleSettings {
            identity: RuleIdentity {
                name: "hot".to_owned(),
                uid: 1,
                version: 1,
                severity,
                key_columns: vec!["site".to_owned()],
            },
            condition: self.condition,
            no_data: self.no_data,
            judging,
            subjects: Subjects::new("hot", vec![template]),
            keys_max: 10,
            shelve_max_us: RuleSettings::SHELVE_MAX_US,
        }
    }
}

fn at(text: &str) -> EventTime {
    EventTime(text.trim_end_matches('s').parse::<i64>().unwrap() * S)
}

fn evidence(value: &str) -> Evidence {
    Evidence { values: format!("{{\"value\":\"{value}\"}}"), receipt: None }
}

fn topic(sensor: &str) -> String {
    format!("/site/berlin/sensor/{sensor}")
}

const NOW: AppendTime = AppendTime(0);

/// One word of input. `5s/a:81` is sensor a's reading, with `!` after it behind the watermark, with
/// `~` before that where SUPPRESS WHEN is true;
/// `60s:81` is the key's window of a minute; `20s|` is the watermark; `9s restart` in one word
/// (`9s^`) is the first tick after the doors were shut.
fn feed(alarms: &mut RuleAlarms, case: Case, word: &str) -> Vec<Transition> {
    let key = [Some("berlin".to_owned())];
    if let Some(time) = word.strip_suffix('|') {
        return alarms.advance(at(time), NOW);
    }
    if let Some(time) = word.strip_suffix('^') {
        alarms.restart_silence(at(time));
        return Vec::new();
    }
    let (place, value) = word.split_once(':').unwrap();
    let may_clear = if value.ends_with('!') { MayClear::No } else { MayClear::Yes };
    let value = value.trim_end_matches('!');
    let suppression = if value.ends_with('~') { Suppression::Yes } else { Suppression::No };
    let value = value.trim_end_matches('~');
    let verdict = case.verdict(value);
    match place.split_once('/') {
        Some((time, sensor)) => {
            let topic = topic(sensor);
            let reading =
                MemberReading { topic: &topic, at: at(time), verdict, may_clear, suppression };
            alarms.reading(&key, &reading, NOW, || evidence(value)).unwrap()
        }
        None => {
            let end = at(place);
            let window = Window { start: EventTime(end.0 - 60 * S), end };
            let rows = [WindowRow { key: key.to_vec(), verdict, suppression }];
            alarms.window(window, &rows, NOW, |_| evidence(value)).unwrap()
        }
    }
}

fn write(transition: &Transition) -> String {
    let members: Vec<_> = transition.members.iter().filter_map(|m| m.rsplit('/').next()).collect();
    let members =
        if members.is_empty() { String::new() } else { format!("({})", members.join(",")) };
    let late = if transition.late { "!" } else { "" };
    let reason = transition.reason.as_ref().map(|r| format!("[{r}]")).unwrap_or_default();
    let at = transition.event_time.0 / S;
    format!("{at}s {}{members}{late}{reason}", transition.kind)
}

fn written(transitions: &[Transition]) -> String {
    transitions.iter().map(write).collect::<Vec<_>>().join(" ")
}

fn check(judging: Judging, rule: &str, input: &str, expected: &str) {
    let case = case(rule);
    let mut alarms = case.alarms(judging);
    let all: Vec<_> =
        input.split_whitespace().flat_map(|word| feed(&mut alarms, case, word)).collect();
    assert_eq!(written(&all), expected, "{rule}: {input}");
    let ids: BTreeSet<_> = all.iter().map(|t| &t.id).collect();
    assert_eq!(ids.len(), all.len(), "no id comes twice");
    assert!(all.iter().zip(0..).all(|(t, i)| t.ordinal == i), "ordinals are dense");
}

#[test]
fn a_windowed_rule_raises_and_clears_with_its_deadband() {
    check(
        Judging::Windows,
        "limit=80 deadband=2",
        "60s:81 120s:79 180s:78",
        "60s raised 180s cleared",
    );
}

#[test]
fn a_windowed_for_turns_at_a_window_and_never_at_a_timer() {
    check(Judging::Windows, "for=60s", "60s:81 120s| 130s|", "");
    check(Judging::Windows, "for=60s", "60s:81 120s| 180s:81", "180s raised");
}

#[test]
fn a_suppressed_raise_is_one_transition_and_its_end_another() {
    let alarms = |input: &str| {
        let case = case("limit=80");
        let mut alarms = case.alarms(Judging::Windows);
        let words = input.split_whitespace();
        let all: Vec<_> = words.flat_map(|word| feed(&mut alarms, case, word)).collect();
        let told = |t: &Transition| format!("{} {}", write(t), t.state.annunciation.as_str());
        all.iter().map(told).collect::<Vec<_>>().join(", ")
    };
    let (raised, on, off) = ("60s raised suppressed", "120s suppressed suppressed", "in_service");
    assert_eq!(alarms("60s:81~ 120s:81~"), raised);
    assert_eq!(alarms("60s:81~ 120s:81"), format!("{raised}, 120s unsuppressed {off}"));
    assert_eq!(alarms("60s:81 120s:81~"), format!("60s raised {off}, {on}"));
    assert_eq!(
        alarms("60s:81~ 120s:70"),
        format!("{raised}, 120s cleared suppressed, 120s unsuppressed {off}")
    );
    assert_eq!(
        alarms("60s:81~ 120s:70~ 180s:81"),
        format!("{raised}, 120s cleared suppressed, 180s superseded {off}, 180s raised {off}")
    );
    assert_eq!(alarms("60s:70~ 120s:70"), "", "what is normal is not written down as suppressed");
}

#[test]
fn a_key_is_suppressed_while_all_its_members_in_condition_are() {
    check(
        Judging::OnArrival,
        "limit=80",
        "1s/a:81~ 2s/b:81~ 3s/b:81 4s/a:70~ 5s/b:81~",
        "1s raised(a) 2s member_added(a,b) 3s unsuppressed(a,b) 5s suppressed(a,b)",
    );
}

#[test]
fn off_delay_restarts_when_the_value_crosses_again() {
    check(
        Judging::InEventTime,
        "limit=80 deadband=2 off_delay=10s",
        "0s/a:81 4s/a:77 9s/a:81 15s/a:77 25s/a:77",
        "0s raised(a) 25s cleared(a)",
    );
}

#[test]
fn due_timers_come_before_readings_of_the_same_instant() {
    check(Judging::InEventTime, "for=10s", "0s/a:81 10s/a:70", "10s raised(a) 10s cleared(a)");
    check(
        Judging::InEventTime,
        "for=10s",
        "0s/b:81 0s/a:81 30s|",
        "10s raised(a) 10s member_added(a,b)",
    );
}

#[test]
fn a_key_is_raised_while_one_member_is_in_condition() {
    check(
        Judging::OnArrival,
        "limit=80",
        "0s/a:81 1s/b:82 2s/a:70 3s/b:70",
        "0s raised(a) 1s member_added(a,b) 3s cleared(a,b)",
    );
    check(
        Judging::OnArrival,
        "limit=80",
        "0s/a:81 1s/b:82 2s/a:70 3s/a:81",
        "0s raised(a) 1s member_added(a,b) 3s member_added(a,b)",
    );
}

#[test]
fn a_late_reading_raises_and_never_clears() {
    check(Judging::OnArrival, "limit=80", "10s/a:70 5s/a:81", "5s raised(a)!");
    check(
        Judging::OnArrival,
        "limit=80",
        "10s/a:81 5s/a:70 11s/a:70",
        "10s raised(a) 11s cleared(a)",
    );
    check(
        Judging::OnArrival,
        "limit=80",
        "10s/a:81 12s/a:70! 13s/a:70",
        "10s raised(a) 13s cleared(a)",
    );
    check(Judging::OnArrival, "limit=80", "9s/a:81!", "9s raised(a)!");
}

#[test]
fn the_same_instant_may_raise_twice_under_two_ids() {
    check(
        Judging::OnArrival,
        "limit=80",
        "5s/a:81 5s/a:70 5s/a:81",
        "5s raised(a) 5s cleared(a) 5s superseded(a) 5s raised(a)",
    );
}

#[test]
fn silence_raises_the_same_alarm_and_the_first_known_verdict_decides_on() {
    let rule = "no_data=60s!";
    check(Judging::OnArrival, rule, "0s/a:70 59s| 60s| 90s|", "60s raised(a)[no_data]");
    check(
        Judging::OnArrival,
        rule,
        "0s/a:70 70s| 71s/a:70",
        "60s raised(a)[no_data] 71s cleared(a)",
    );
    check(Judging::OnArrival, rule, "0s/a:70 70s| 71s/a:81", "60s raised(a)[no_data]");
    check(Judging::OnArrival, rule, "0s/a:81 70s|", "0s raised(a)");
    check(Judging::OnArrival, rule, "0s/a:70 30s/a:? 60s|", "60s raised(a)[no_data]");
    check(Judging::Windows, rule, "60s:70 120s:70 180s:70 180s|", "");
    check(Judging::Windows, rule, "60s:70 240s:70", "120s raised[no_data] 240s cleared");
}

#[test]
fn silence_does_not_count_while_the_doors_were_shut() {
    let input = "0s/a:70 3600s^ 3601s| 3659s| 3660s|";
    check(Judging::OnArrival, "no_data=60s!", input, "3660s raised(a)[no_data]");
}

#[test]
fn silence_does_not_count_before_the_doors_opened_for_what_is_first_known_after() {
    let raised = "3660s raised(a)[no_data]";
    check(Judging::OnArrival, "no_data=60s!", "3600s^ 0s/a:70 3659s| 3660s|", raised);
    let windows = "3600s^ 60s:70 300s:70 3659s| 3660s|";
    check(Judging::Windows, "no_data=60s!", windows, "3660s raised[no_data]");
}

#[test]
fn silence_without_raise_is_shown_as_stale() {
    let case = case("no_data=60s");
    let mut alarms = case.alarms(Judging::OnArrival);
    let raised = feed(&mut alarms, case, "0s/a:81");
    assert!(alarms.stale_alarms().is_empty());
    assert!(feed(&mut alarms, case, "60s|").is_empty());
    assert_eq!(alarms.stale_alarms(), BTreeSet::from([raised[0].id.clone()]));
    feed(&mut alarms, case, "61s/a:81");
    assert!(alarms.stale_alarms().is_empty());
}

#[test]
fn a_sensor_that_never_reported_is_silent_from_where_it_was_expected() {
    let case = case("no_data=60s!");
    let mut alarms = case.alarms(Judging::OnArrival);
    alarms.expect(&[Some("berlin".to_owned())], &topic("z"), at("100s")).unwrap();
    assert_eq!(written(&feed(&mut alarms, case, "170s|")), "160s raised(z)[no_data]");
}

#[test]
fn a_timer_shows_what_its_reading_showed() {
    let case = case("for=10s");
    let mut alarms = case.alarms(Judging::InEventTime);
    feed(&mut alarms, case, "0s/a:81");
    feed(&mut alarms, case, "5s/a:83");
    let raised = feed(&mut alarms, case, "10s|");
    assert_eq!(raised[0].values, r#"{"value":"83"}"#);
    assert_eq!(raised[0].topic, Some(topic("a")));
    assert_eq!(raised[0].subject, "/site/berlin");
}

/// An alarm that was raised at 0 s by sensor a, and what a command needs to name it.
fn raised(severity: Severity) -> (RuleAlarms, Case, Target) {
    let case = case("limit=80");
    let mut alarms = RuleAlarms::new(case.settings(Judging::OnArrival, severity));
    let raised = feed(&mut alarms, case, "0s/a:81").remove(0);
    assert_eq!(raised.alarm_id.as_ref(), Some(&raised.id));
    let target = Target {
        alarm_id: raised.id,
        rule_uid: 1,
        key: raised.key,
        seen_ordinal: Some(raised.ordinal),
    };
    (alarms, case, target)
}

fn send(alarms: &mut RuleAlarms, command: &Command, seconds: i64) -> String {
    written(&alarms.command(command, EventTime(seconds * S), AppendTime(seconds * S)))
}

fn acknowledge(target: &Target) -> Command {
    Command::Acknowledge { target: target.clone(), by: "mia".into(), comment: Some("ok".into()) }
}

fn shelve(target: &Target, hours: i64, reason: &str, authority: Authority) -> Command {
    let for_us = hours * 3600 * S;
    let (by, reason) = ("mia".to_owned(), reason.to_owned());
    Command::Shelve { target: target.clone(), for_us, by, reason, authority }
}

#[test]
fn an_acknowledged_alarm_goes_back_to_normal_and_the_next_raise_is_another_occurrence() {
    let (mut alarms, case, target) = raised(Severity::High);
    assert_eq!(send(&mut alarms, &acknowledge(&target), 1), "1s acknowledged(a)");
    let cleared = feed(&mut alarms, case, "2s/a:70").remove(0);
    assert_eq!(
        (cleared.state.isa_name(), cleared.alarm_id),
        ("Normal", Some(target.alarm_id.clone()))
    );
    let again = feed(&mut alarms, case, "3s/a:81").remove(0);
    assert_ne!(again.alarm_id, Some(target.alarm_id.clone()));
    let over = "4s ineffective(a)[acknowledge: that occurrence is over]";
    assert_eq!(send(&mut alarms, &acknowledge(&target), 4), over);
}

#[test]
fn an_acknowledgement_of_less_than_what_happened_is_ineffective() {
    let (mut alarms, case, target) = raised(Severity::High);
    feed(&mut alarms, case, "1s/b:81");
    let outdated = send(&mut alarms, &acknowledge(&target), 2);
    assert!(outdated.contains("ineffective") && outdated.contains("joined after"), "{outdated}");
    let newest = Target { seen_ordinal: None, ..target };
    assert_eq!(send(&mut alarms, &acknowledge(&newest), 3), "3s acknowledged(a,b)");
    let twice = send(&mut alarms, &acknowledge(&newest), 4);
    assert!(twice.contains("already acknowledged"), "{twice}");
}

#[test]
fn a_command_about_another_rule_changes_nothing() {
    let (mut alarms, _, target) = raised(Severity::High);
    let other = Target { rule_uid: 2, ..target };
    assert_eq!(send(&mut alarms, &acknowledge(&other), 1), "");
}

#[test]
fn a_shelving_is_capped_and_its_end_shows_what_the_process_is() {
    let (mut alarms, case, target) = raised(Severity::High);
    let command = shelve(&target, 24, "noise", Authority::Operator);
    assert_eq!(send(&mut alarms, &command, 10), "10s shelved(a)");
    assert_eq!(alarms.list().next().unwrap().state.isa_name(), "Shelved");
    let eight_hours = 8 * 3600 + 10;
    assert!(alarms.advance(at("1s"), AppendTime(eight_hours * S - 1)).is_empty());
    let over = alarms.advance(at("1s"), AppendTime(eight_hours * S));
    assert_eq!(written(&over), format!("{eight_hours}s unshelved(a)[expired]"));
    assert_eq!(over[0].state.isa_name(), "Unacknowledged Active");
    assert_eq!(written(&feed(&mut alarms, case, "5s/a:70")), "5s cleared(a)");
}

#[test]
fn shelving_needs_a_reason_and_for_critical_alarms_an_administrator() {
    let (mut alarms, _, target) = raised(Severity::Critical);
    for (command, why) in [
        (shelve(&target, 1, "noise", Authority::Operator), "administrator"),
        (shelve(&target, 1, " ", Authority::Admin), "reason"),
        (shelve(&target, 0, "noise", Authority::Admin), "already be over"),
        (Command::Unshelve { target: target.clone(), by: "mia".into() }, "not shelved"),
    ] {
        let answer = send(&mut alarms, &command, 1);
        assert!(answer.contains("ineffective") && answer.contains(why), "{answer}");
    }
    let command = shelve(&target, 1, "noise", Authority::Admin);
    assert_eq!(send(&mut alarms, &command, 1), "1s shelved(a)");
}

#[test]
fn a_member_out_of_service_lets_its_alarm_clear_and_is_deaf_until_it_is_back() {
    let (mut alarms, case, _) = raised(Severity::High);
    feed(&mut alarms, case, "1s/b:81");
    let (by, reason) = ("mia".to_owned(), "paint".to_owned());
    let take = |sensor: &str| Command::TakeOutOfService {
        topic: topic(sensor),
        by: by.clone(),
        reason: reason.clone(),
    };
    assert_eq!(send(&mut alarms, &take("a"), 2), "");
    assert_eq!(send(&mut alarms, &take("b"), 3), "3s cleared(a,b)[out_of_service]");
    assert!(feed(&mut alarms, case, "4s/b:81").is_empty());
    assert_eq!(send(&mut alarms, &take("new"), 5), "");
    assert!(feed(&mut alarms, case, "6s/new:81").is_empty(), "also one not seen before");
    let back = Command::ReturnToService { topic: topic("b"), by: by.clone() };
    assert_eq!(send(&mut alarms, &back, 7), "");
    assert_eq!(written(&feed(&mut alarms, case, "8s/b:81")), "8s superseded(a,b) 8s raised(b)");
}

#[test]
fn a_place_out_of_service_takes_its_alarms_with_it() {
    let (mut alarms, _, _) = raised(Severity::High);
    let (topic, by) = ("/site/berlin".to_owned(), "mia".to_owned());
    let take = Command::TakeOutOfService {
        topic: topic.clone(),
        by: by.clone(),
        reason: "fire drill".into(),
    };
    let out = send(&mut alarms, &take, 1);
    assert_eq!(out, "1s cleared(a)[out_of_service] 1s out_of_service(a)");
    assert_eq!(alarms.list().next().unwrap().state.isa_name(), "Out of Service");
    let back = Command::ReturnToService { topic, by };
    assert_eq!(send(&mut alarms, &back, 2), "2s returned(a)");
}

#[test]
fn a_dropped_rule_closes_what_is_open() {
    let (mut alarms, _, _) = raised(Severity::High);
    assert_eq!(written(&alarms.rule_dropped(at("9s"), NOW)), "9s rule_dropped(a)");
    assert_eq!(alarms.key_count(), 0);
}

#[test]
fn a_replaced_rule_carries_its_open_alarms_by_key() {
    let (alarms, case, target) = raised(Severity::High);
    let mut settings = case.settings(Judging::OnArrival, Severity::High);
    settings.identity.version = 2;
    let other = case.settings(Judging::Windows, Severity::High);
    let alarms = alarms.replace(other, None).expect_err("judged otherwise");
    let mut alarms = alarms.replace(settings, None).unwrap();
    let cleared = feed(&mut alarms, case, "5s/a:70").remove(0);
    assert_eq!((cleared.kind, cleared.rule_version), (TransitionKind::Cleared, 2));
    assert_eq!(cleared.alarm_id, Some(target.alarm_id));
}

#[test]
fn a_rule_with_too_many_keys_says_so() {
    let mut alarms = case("").alarms(Judging::Windows);
    let rows: Vec<_> = (0..11)
        .map(|i| WindowRow {
            key: vec![Some(i.to_string())],
            verdict: Verdict::Clear,
            suppression: Suppression::No,
        })
        .collect();
    let window = Window { start: EventTime(0), end: EventTime(1) };
    let error = alarms.window(window, &rows, NOW, |_| evidence("")).unwrap_err();
    assert_eq!((error.limit, alarms.key_count()), (10, 10));
}

#[test]
fn several_rows_of_one_key_count_as_the_strongest() {
    let mut alarms = case("").alarms(Judging::Windows);
    let (key, suppression) = ([Some("berlin".to_owned())], Suppression::No);
    let row = |verdict| WindowRow { key: key.to_vec(), verdict, suppression };
    let rows = [row(Verdict::Clear), row(Verdict::Raise), row(Verdict::Unknown)];
    let window = Window { start: EventTime(0), end: EventTime(S) };
    let raised = alarms.window(window, &rows, NOW, |i| evidence(&i.to_string())).unwrap();
    assert_eq!(written(&raised), "1s raised");
    assert_eq!(raised[0].values, r#"{"value":"1"}"#);
}

#[test]
fn counts_stay_unique_beyond_what_is_remembered() {
    let mut counts = crate::alarms::Counts::default();
    let mut seen = BTreeSet::new();
    for round in 0..5 {
        for at in 0..200 {
            let at = EventTime(if round % 2 == 0 { at } else { 199 - at });
            assert!(seen.insert((at, counts.next(at))), "{at} came twice with the same count");
        }
    }
}

/// Readings of three sensors in event-time order, as words of [`feed`].
fn any_input() -> impl Strategy<Value = Vec<String>> {
    let step = (0..8i64, 0..3usize, prop_oneof![Just("81"), Just("79"), Just("70"), Just("?")]);
    prop::collection::vec(step, 1..60).prop_map(|steps| {
        let mut time = 0;
        let words = steps.into_iter().map(|(gap, sensor, value)| {
            time += gap;
            format!("{time}s/{}:{value}", ["a", "b", "c"][sensor])
        });
        words.collect()
    })
}

fn any_rule() -> impl Strategy<Value = Case> {
    (0..12i64, 0..12i64, 5..20i64, any::<bool>()).prop_map(|(hold, off, after, raise)| {
        let mark = if raise { "!" } else { "" };
        case(&format!("limit=80 deadband=2 for={hold}s off_delay={off}s no_data={after}s{mark}"))
    })
}

fn time_of(word: &str) -> &str {
    word.split_once('/').unwrap().0
}

proptest! {
    #[test]
    fn batch_splits_do_not_matter(case in any_rule(), input in any_input(), every in 1..9usize) {
        let last = format!("{}|", time_of(input.last().unwrap()));
        let run = |every: usize| {
            let mut alarms = case.alarms(Judging::InEventTime);
            let mut out = Vec::new();
            for batch in input.chunks(every) {
                out.extend(batch.iter().flat_map(|word| feed(&mut alarms, case, word)));
                let watermark = format!("{}|", time_of(batch.last().unwrap()));
                out.extend(feed(&mut alarms, case, &watermark));
            }
            out.extend(feed(&mut alarms, case, &last));
            (out, serde_json::to_string(&alarms.state()).unwrap())
        };
        prop_assert_eq!(run(every), run(usize::MAX));
    }

    #[test]
    fn a_restart_after_every_reading_changes_nothing(case in any_rule(), input in any_input()) {
        let mut straight = case.alarms(Judging::InEventTime);
        let mut restarted = case.alarms(Judging::InEventTime);
        for word in &input {
            let kept = serde_json::to_string(&restarted.state()).unwrap();
            let state: RuleAlarmsState = serde_json::from_str(&kept).unwrap();
            restarted = RuleAlarms::restore(restarted.settings().clone(), state);
            let expected = feed(&mut straight, case, word);
            prop_assert_eq!(feed(&mut restarted, case, word), expected);
        }
        let bytes = |alarms: &RuleAlarms| serde_json::to_string(&alarms.state()).unwrap();
        prop_assert_eq!(bytes(&straight), bytes(&restarted));
    }
}
