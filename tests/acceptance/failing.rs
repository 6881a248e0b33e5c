//! P10: what fails is one partition of the disk, or there is no room on it; everybody else goes on.

use crate::failing_disk::{FailingDisk, Wrong};
use crate::harness::weir;
use crate::inside::{self, Answer, Inside};
use crate::line::{FREEZERS, reading};
use crate::statements::wait_until;
use std::collections::{BTreeMap, HashSet};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use weir::client::Client;
use weir_ingest::io::{Disk, RealClock};

const PARTITIONS: usize = 4;
const BROKEN: usize = 2;
const BROKEN_FILES: &str = "streams/load-1/2/";
/// Requests each writer must get confirmed before and after something happens.
const ENOUGH: usize = 20;
/// Rows of a request.
const ROWS: u64 = 10;

const DEFINITIONS: [&str; 3] = [
    "CREATE STREAM load (n BIGINT) TOPIC '/load/{name}'
     WITH (time = 'arrival', partitions = 4, lateness = '0 seconds', idle = '1 second')",
    "CREATE RULE high KEY (name) RAISE WHEN n < 0 AS SELECT name, n FROM load",
    "CREATE RULE busy KEY (name) RAISE WHEN rows > 0
     AS SELECT name, window_end, count(*) AS rows
        FROM TUMBLE(load, DESCRIPTOR(time), size => INTERVAL '1' SECOND)
        GROUP BY name, window_start, window_end",
];

fn start(directory: &tempfile::TempDir, disk: &Arc<FailingDisk>) -> Inside {
    let disk: Arc<dyn Disk> = Arc::<FailingDisk>::clone(disk);
    Inside::start(inside::over(directory.path()), Arc::new(RealClock::new()), disk)
}

fn row(name: &str, n: i64) -> String {
    format!("{{\"topic\":\"/load/{name}\",\"n\":{n}}}\n")
}

/// A name with this prefix for each partition, whose rows go there.
fn names(server: &Inside, prefix: &str) -> Vec<String> {
    let streams = server.log().streams();
    let mut names = BTreeMap::new();
    for name in (0..).map(|n| format!("{prefix}{n}")) {
        let route = streams.route(&format!("/load/{name}")).expect("a topic of the stream");
        names.entry(route.partition.0).or_insert(name);
        if names.len() == PARTITIONS {
            break;
        }
    }
    names.into_values().collect()
}

/// Sends rows with growing numbers, each once, and remembers what was said of them.
#[derive(Debug, Default)]
struct Writer {
    name: String,
    next: AtomicUsize,
    confirmed: AtomicUsize,
    refused: AtomicUsize,
}

impl Writer {
    /// Writes until it is told to stop; the numbers that were confirmed.
    fn write(&self, address: &str, stop: &AtomicBool) -> Vec<u64> {
        let client = Client::new(address).expect("an address");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mut confirmed = Vec::new();
        for first in (0..).step_by(ROWS as usize) {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let lines = (first..first + ROWS).map(|n| row(&self.name, n.cast_signed())).collect();
            let answer = runtime.block_on(inside::post(&client, lines));
            self.next.store(first as usize + ROWS as usize, Ordering::SeqCst);
            if answer.status == 200 {
                confirmed.extend(first..first + ROWS);
                self.confirmed.fetch_add(1, Ordering::SeqCst);
            } else {
                assert!(answer.status == 503 && answer.again, "{answer:?}");
                self.refused.fetch_add(1, Ordering::SeqCst);
            }
        }
        confirmed
    }

    fn count(&self) -> usize {
        self.confirmed.load(Ordering::SeqCst)
    }
}

/// Runs `meanwhile` beside a writer for each partition; what each writer had confirmed.
fn under_load(
    server: &Inside,
    writers: &[Writer],
    meanwhile: impl FnOnce() + Send,
) -> Vec<Vec<u64>> {
    let stop = AtomicBool::new(false);
    let (address, stop) = (server.address(), &stop);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            writers.iter().map(|writer| scope.spawn(move || writer.write(address, stop))).collect();
        let done = scope.spawn(meanwhile).join();
        stop.store(true, Ordering::SeqCst);
        let confirmed = threads.into_iter().map(|thread| thread.join().expect("it ends"));
        let confirmed = confirmed.collect();
        done.expect("what was to hold does");
        confirmed
    })
}

/// Waits until each of these had more confirmed.
fn more<'a>(what: &str, writers: impl Iterator<Item = &'a Writer>) {
    let wanted: Vec<_> = writers.map(|writer| (writer, writer.count() + ENOUGH)).collect();
    wait_until(what, || wanted.iter().all(|(writer, count)| writer.count() >= *count));
}

/// What was confirmed is there, what is there was sent, and each row is there once and in order.
fn check(server: &Inside, writers: &[Writer], confirmed: &[Vec<u64>]) {
    for (writer, confirmed) in writers.iter().zip(confirmed) {
        let sql = format!(
            "SELECT n FROM load WHERE topic = '/load/{}' ORDER BY partition, \"offset\"",
            writer.name
        );
        let rows = server.query(&sql);
        let stored: Vec<u64> = rows.iter().map(|row| row["n"].as_u64().expect("sent")).collect();
        assert!(stored.is_sorted_by(|a, b| a < b), "P2: {} is there once, in order", writer.name);
        let sent = writer.next.load(Ordering::SeqCst) as u64;
        assert!(stored.iter().all(|n| *n < sent), "nobody sent what {} has", writer.name);
        let stored: HashSet<u64> = stored.into_iter().collect();
        let lost: Vec<_> = confirmed.iter().filter(|n| !stored.contains(n)).collect();
        assert!(lost.is_empty(), "P1: {} lost {lost:?}", writer.name);
    }
}

fn writers(server: &Inside) -> Vec<Writer> {
    let names = names(server, "w").into_iter();
    names.map(|name| Writer { name, ..Writer::default() }).collect()
}

/// The keys of open alarms of a rule.
fn alarmed(server: &Inside, rule: &str) -> Vec<String> {
    let sql = format!("SELECT key FROM alarms WHERE rule = '{rule}' AND condition = 'active'");
    server.query(&sql).iter().map(|row| row["key"].to_string()).collect()
}

/// Whether both rules told of each of these names.
fn all_told(server: &Inside, names: &[String]) -> bool {
    let told = ["high", "busy"].map(|rule| alarmed(server, rule).concat());
    names.iter().all(|name| told.iter().all(|told| told.contains(&format!("\\\"{name}\\\""))))
}

#[test]
fn a_partition_whose_disk_fails_once_heals_and_nobody_is_refused() {
    let (directory, disk) = (tempfile::tempdir().expect("a directory"), FailingDisk::new());
    let server = start(&directory, &disk);
    server.query(DEFINITIONS[0]);
    let writers = writers(&server);
    let confirmed = under_load(&server, &writers, || {
        more("writers write", writers.iter());
        disk.break_down(Wrong::OneSync, BROKEN_FILES);
        wait_until("a sync fails", || disk.failures() == 1);
        more("all go on", writers.iter());
    });
    let refused: usize = writers.iter().map(|w| w.refused.load(Ordering::SeqCst)).sum();
    assert_eq!(refused, 0, "the rows went into a new segment");
    let stream = server.log().streams().get("load").expect("the stream");
    let segments: Vec<usize> = stream.partitions().iter().map(|p| p.segments().len()).collect();
    assert_eq!(segments, [1, 1, 2, 1]);
    check(&server, &writers, &confirmed);
    server.stop();
}

#[test]
fn a_partition_whose_disk_goes_on_failing_is_out_with_its_alarm_and_the_others_raise() {
    let (directory, disk) = (tempfile::tempdir().expect("a directory"), FailingDisk::new());
    let server = start(&directory, &disk);
    DEFINITIONS.iter().for_each(|statement| drop(server.query(statement)));
    let writers = writers(&server);
    let others = || writers.iter().enumerate().filter(|(n, _)| *n != BROKEN).map(|(_, w)| w);
    let confirmed = under_load(&server, &writers, || {
        more("writers write", writers.iter());
        disk.break_down(Wrong::Writing, BROKEN_FILES);
        let before = writers[BROKEN].refused.load(Ordering::SeqCst);
        let refused = || writers[BROKEN].refused.load(Ordering::SeqCst) > before + ENOUGH;
        wait_until("the fourth is refused", refused);
        let taken = writers[BROKEN].count();
        wait_until("the alarm says so", || alarmed(&server, "weir/partition_failed").len() == 1);
        more("the others are confirmed", others());
        let late = names(&server, "late");
        let answer = server.post(late.iter().map(|name| row(name, -1)).collect());
        partly_confirmed(&answer);
        let mut late = late;
        late.remove(BROKEN);
        wait_until("the others raise", || all_told(&server, &late));
        assert_eq!(writers[BROKEN].count(), taken, "nothing was confirmed there meanwhile");
    });
    let refused: usize = others().map(|w| w.refused.load(Ordering::SeqCst)).sum();
    assert_eq!(refused, 0, "three were never refused");
    check(&server, &writers, &confirmed);
    server.stop();

    disk.repair();
    let server = start(&directory, &disk);
    check(&server, &writers, &confirmed);
    assert_eq!(server.post(row(&writers[BROKEN].name, -2)).status, 200);
    let name = std::slice::from_ref(&writers[BROKEN].name);
    wait_until("it raises again", || all_told(&server, name));
    let is_over = || alarmed(&server, "weir/partition_failed").is_empty();
    wait_until("its alarm is over", is_over);
    server.stop();
}

/// One row for each partition was sent, in their order.
fn partly_confirmed(answer: &Answer) {
    assert!(answer.status == 503 && answer.again, "{answer:?}");
    let body = &answer.body;
    assert_eq!(body["confirmed"], serde_json::json!([0, 1, 3]), "{body}");
    assert_eq!(body["unconfirmed"], serde_json::json!([BROKEN]), "{body}");
}

/// The ways in which a disk is full: below the mark, below half of it, and refused while it says that
/// there is room.
fn full(disk: &FailingDisk, way: u64) {
    match way {
        0 => disk.leave(15),
        1 => disk.leave(5),
        _ => {
            disk.repair();
            disk.break_down(Wrong::NoRoom, "streams/");
        }
    }
}

#[test]
fn on_a_full_disk_what_is_stored_raises_and_operators_are_heard_and_writers_resume() {
    let (directory, disk) = (tempfile::tempdir().expect("a directory"), FailingDisk::new());
    let server = start(&directory, &disk);
    server.query(FREEZERS);
    let confirmed = server.post(reading(7, 1_700_000_000, -10.0));
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    let mut writer = None;
    for way in 0..3 {
        full(&disk, way);
        let mut refused = None;
        wait_until("a writer is refused", || {
            // More than what is left of the file that is being written.
            let much = reading(8, 1_700_000_001, -20.0).repeat(50_000);
            refused = Some(server.post(much)).filter(|answer| answer.status != 200);
            refused.is_some()
        });
        let refused = refused.expect("it was");
        assert!(refused.status == 507 && refused.again, "{refused:?}");
        // A rule that is made now reads what was stored before.
        let rule = format!("too_warm_{way}");
        server.query(&format!(
            "CREATE RULE {rule} KEY (freezer) START FROM EARLIEST RAISE WHEN temperature > -15
             AS SELECT freezer, temperature FROM freezers"
        ));
        wait_until("it raises", || alarmed(&server, &rule).len() == 1);
        let of_rule = format!("SELECT alarm_id, acknowledged FROM alarms WHERE rule = '{rule}'");
        let id = server.query(&of_rule)[0]["alarm_id"].as_str().expect("an id").to_owned();
        server.query(&format!("ACKNOWLEDGE ALARM '{id}' BY 'kim'"));
        wait_until("kim is heard", || server.query(&of_rule)[0]["acknowledged"] == true);
        server.query(&format!("DROP RULE {rule}"));
        assert!(alarmed(&server, &rule).is_empty(), "its alarms went with it");
        writer.get_or_insert_with(|| publishing(&server, &directory));
    }
    disk.repair();
    let done = writer.expect("it was started").wait_with_output().expect("it is ours");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let rows = server.query("SELECT count(*) AS n FROM freezers WHERE freezer = '9'");
    assert_eq!(rows[0]["n"], 1, "it waited, and was taken");
    server.stop();
}

/// `weir publish` of a row of freezer 9.
fn publishing(server: &Inside, directory: &tempfile::TempDir) -> std::process::Child {
    let file = directory.path().join("late.ndjson");
    std::fs::write(&file, reading(9, 1_700_000_003, -20.0)).expect("the machine has room");
    let mut command = weir();
    command.arg("publish").arg(&file).env("WEIR_URL", server.address());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}
