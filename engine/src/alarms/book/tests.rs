use super::*;
use crate::alarms::{
    Command, Condition, Evidence, Judging, RuleAlarms, RuleIdentity, RuleSettings, Subjects,
    Suppression, Verdict, Window, WindowRow,
};
use arrow::array::AsArray;
use weir_ingest::model::AppendTime;

fn alarms() -> RuleAlarms {
    RuleAlarms::new(RuleSettings {
        identity: RuleIdentity {
            name: "hot".to_owned(),
            uid: 1,
            version: 1,
            severity: Severity::High,
            key_columns: vec!["room".to_owned()],
        },
        condition: Condition::default(),
        no_data: None,
        judging: Judging::Windows,
        subjects: Subjects::new("hot", Vec::new()),
        keys_max: 10,
        shelve_max_us: RuleSettings::SHELVE_MAX_US,
    })
}

fn window(alarms: &mut RuleAlarms, book: &mut AlarmBook, end: i64, verdict: Verdict) {
    let window = Window { start: EventTime(end - 10), end: EventTime(end) };
    let rows =
        [WindowRow { key: vec![Some("3J".to_owned())], verdict, suppression: Suppression::No }];
    let values = Evidence { values: format!("{{\"end\":{end}}}"), receipt: None };
    let out = alarms.window(window, &rows, AppendTime(end), |_| values.clone()).unwrap();
    out.iter().for_each(|transition| book.apply(transition));
}

fn command(alarms: &mut RuleAlarms, book: &mut AlarmBook, at: i64, command: &Command) {
    let out = alarms.command(command, EventTime(at), AppendTime(at));
    out.iter().for_each(|transition| book.apply(transition));
}

/// `"state raised_at changed_at"` of each row.
fn rows(book: &AlarmBook) -> Vec<String> {
    let batch = book.rows();
    assert_eq!(batch.num_rows(), book.len());
    let states = batch.column_by_name("state").unwrap().as_string::<i32>();
    let alarms = states.iter().zip(book.alarms());
    alarms
        .map(|(state, a)| format!("{} {} {}", state.unwrap(), a.raised_at.unwrap(), a.changed_at))
        .collect()
}

#[test]
fn the_book_shows_what_is_open_and_forgets_what_is_over() {
    let (mut alarms, mut book) = (alarms(), AlarmBook::new());
    window(&mut alarms, &mut book, 10, Verdict::Clear);
    assert!(book.is_empty());
    window(&mut alarms, &mut book, 20, Verdict::Raise);
    assert_eq!(rows(&book), ["Unacknowledged Active 20 20"]);
    window(&mut alarms, &mut book, 30, Verdict::Clear);
    assert_eq!(rows(&book), ["Returned to Normal Unacknowledged 20 30"]);
    let first = book.alarms().next().unwrap().target().unwrap();
    window(&mut alarms, &mut book, 40, Verdict::Raise);
    assert_eq!(rows(&book), ["Unacknowledged Active 40 40"]);
    assert!(book.find(&first.alarm_id).is_none(), "it was superseded");
    let target = book.alarms().next().unwrap().target().unwrap();
    let by = || "mia".to_owned();
    let acknowledge = Command::Acknowledge { target, by: by(), comment: Some("ok".to_owned()) };
    command(&mut alarms, &mut book, 45, &acknowledge);
    assert_eq!(rows(&book), ["Acknowledged Active 40 45"]);
    let again = book.alarms().next().unwrap();
    assert_eq!((again.operator.as_deref(), again.comment.as_deref()), (Some("mia"), Some("ok")));
    command(&mut alarms, &mut book, 46, &acknowledge);
    assert_eq!(rows(&book), ["Acknowledged Active 40 45"], "what is ineffective changes no row");
    window(&mut alarms, &mut book, 50, Verdict::Clear);
    assert!(book.is_empty());
}

#[test]
fn a_shelved_alarm_stays_in_the_book_after_its_occurrence_is_over() {
    let (mut alarms, mut book) = (alarms(), AlarmBook::new());
    window(&mut alarms, &mut book, 20, Verdict::Raise);
    let target = book.alarms().next().unwrap().target().unwrap();
    let (by, comment) = ("mia".to_owned(), None);
    let acknowledge = Command::Acknowledge { target: target.clone(), by: by.clone(), comment };
    let shelve = Command::Shelve {
        target: target.clone(),
        for_us: 100,
        by: by.clone(),
        reason: "noise".to_owned(),
        authority: crate::alarms::Authority::Admin,
    };
    command(&mut alarms, &mut book, 21, &acknowledge);
    command(&mut alarms, &mut book, 22, &shelve);
    window(&mut alarms, &mut book, 30, Verdict::Clear);
    assert_eq!(rows(&book), ["Shelved 20 30"]);
    command(&mut alarms, &mut book, 31, &Command::Unshelve { target, by });
    assert!(book.is_empty());
}

#[test]
fn an_alarm_is_stale_while_its_rule_says_so() {
    let (mut alarms, mut book) = (alarms(), AlarmBook::new());
    window(&mut alarms, &mut book, 20, Verdict::Raise);
    let id = book.alarms().next().unwrap().alarm_id.clone().unwrap();
    book.set_stale("hot", &StaleAlarms::from([id.clone()]));
    assert!(book.find(&id).unwrap().stale);
    book.set_stale("hot", &StaleAlarms::new());
    assert!(!book.find(&id).unwrap().stale);
}
