//! A disk that fails, for which a limit on the size of files stands in that processes inherit; and one that
//! is full: the one in memory, with the mark set to what is left of it.

use crate::harness::{Server, weir};
use crate::line::{FREEZERS, reading};
use std::fmt::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(120);
/// No file grows beyond 16 MiB (in blocks of 512 bytes); the signal that would say so is ignored, so that
/// the call fails. The catalog is the only file that becomes so large here.
const SMALL_FILES: &str = "trap '' XFSZ\nulimit -f 32768";
const STREAM: &str = "CREATE STREAM load (n BIGINT) TOPIC '/load/{name}' WITH (time = 'arrival');";
const SERIES: u32 = 100_000;

/// A row each of more series than the catalog has room for.
fn rows_of_many_series() -> String {
    let (long, mut lines) = ("x".repeat(150), String::new());
    for n in 0..SERIES {
        writeln!(lines, "{{\"topic\":\"/load/{long}-{n}\",\"n\":{n}}}").expect("into a string");
    }
    lines
}

#[test]
fn a_disk_that_fails_below_the_catalog_ends_the_server_with_a_code_of_its_own() {
    let mut server = Server::start_under(SMALL_FILES);
    // What else fails with the disk may be told in whichever way.
    server.expect(" WARN ");
    server.expect(" ERROR ");
    server.define(STREAM);
    let first = server.publish("{\"topic\":\"/load/first\",\"n\":0}\n");
    assert!(first.contains("1 accepted"), "{first}");
    let file = server.scratch().join("many.ndjson");
    std::fs::write(&file, rows_of_many_series()).expect("the scratch directory is writable");
    let published = server.run(&["publish", &file.to_string_lossy()]);
    assert!(!published.status.success(), "not all of it can be taken");
    assert_eq!(server.ended(WITHIN), Some(4));
    server.restart();
    let rows = server.query("SELECT count(*) AS n FROM load WHERE topic = '/load/first'");
    assert_eq!(rows[0]["n"], 1, "what was confirmed is recovered");
    let again = server.publish("{\"topic\":\"/load/first\",\"n\":1}\n");
    assert!(again.contains("1 accepted"), "{again}");
}

const MIB: usize = 1024 * 1024;
/// A disk that nothing else of the tests writes to.
const IN_MEMORY: &str = "/dev/shm";
/// What the server may take of it before it is full.
const SPARE: usize = 96 * MIB;
const FILLER: usize = 128 * MIB;

/// A server in memory with little room; none where there is no such disk.
fn with_little_room() -> Option<Server> {
    let directory = tempfile::tempdir_in(IN_MEMORY).ok()?;
    let told = Command::new("df").args(["--output=avail", "-B1", IN_MEMORY]).output().ok()?;
    let left: usize = String::from_utf8(told.stdout).ok()?.lines().last()?.trim().parse().ok()?;
    // Not so little that half of the mark is passed too.
    let mark = left.checked_sub(SPARE).filter(|mark| *mark > 4 * FILLER)?;
    let marks =
        format!("soft_permille = 0\nsoft_bytes = 0\nhard_permille = 0\nhard_bytes = {mark}\n");
    Some(Server::start_in(directory, format!("[ingest.room]\n{marks}")))
}

/// Sends until the server says that the disk is full.
fn send_until_refused(server: &Server) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = weir::client::Client::new(server.address()).expect("an address");
    let until = Instant::now() + WITHIN;
    runtime.block_on(async {
        loop {
            let body = reading(8, 1_700_000_002, -20.0);
            let answer = client.post_readings(body.into()).await.expect("an answer");
            if answer.status().as_u16() == 507 {
                return assert!(answer.headers().contains_key("retry-after"));
            }
            assert!(answer.status().is_success(), "{answer:?}");
            assert!(Instant::now() < until, "the server does not see that the disk is full");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

#[test]
fn on_a_full_disk_operators_are_heard_and_writers_wait_until_there_is_room() {
    let Some(mut server) = with_little_room() else {
        return println!("skipped: {IN_MEMORY} is not there or too small");
    };
    server.expect("the disk is filling up");
    server.define(FREEZERS);
    server.define(
        "CREATE RULE too_warm KEY (freezer) RAISE WHEN temperature > -15
         AS SELECT freezer, temperature FROM freezers;",
    );
    server.publish(&reading(7, 1_700_000_000, -10.0));
    let alarms = server.wait_for_rows("SELECT alarm_id FROM alarms", 1, WITHIN);
    let id = alarms[0]["alarm_id"].as_str().expect("an id").to_owned();
    let filler = server.scratch().join("filler");
    std::fs::write(&filler, vec![0; FILLER]).expect("there is as much room");
    send_until_refused(&server);
    server.ok(&["alarms", "ack", &id, "--by", "kim"]);
    let told = server.query("SELECT acknowledged FROM alarms");
    assert_eq!(told[0]["acknowledged"], true);
    server.define("DROP RULE too_warm;");
    let file = server.scratch().join("late.ndjson");
    std::fs::write(&file, reading(9, 1_700_000_003, -20.0)).expect("there is as much room");
    let writer = weir()
        .arg("publish")
        .arg(&file)
        .env("WEIR_URL", server.address())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    std::thread::sleep(Duration::from_millis(500));
    std::fs::remove_file(&filler).expect("it is ours");
    let done = writer.wait_with_output().expect("it is ours");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let rows = server.query("SELECT count(*) AS n FROM freezers WHERE freezer = '9'");
    assert_eq!(rows[0]["n"], 1, "it waited, and was taken");
}
