//! A copy that starts: made while readings come in, and of a directory that nobody has open.

use crate::harness::{Server, weir};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(60);
const STREAM: &str = "CREATE STREAM load (n BIGINT) TOPIC '/load/{name}' WITH (time = 'arrival');
CREATE RULE high KEY (name) RAISE WHEN n >= 1000000 CLEAR WHEN n < 0 AS SELECT name, n FROM load;
CREATE RULE counted AS SELECT name, count(*) AS readings
     FROM TUMBLE(load, DESCRIPTOR(time), size => INTERVAL '1' SECOND)
     GROUP BY name, window_start, window_end;";
const BEFORE: u64 = 20_000;

fn lines(name: &str, values: std::ops::Range<u64>) -> String {
    let mut lines = String::new();
    for n in values {
        writeln!(lines, "{{\"topic\":\"/load/{name}\",\"n\":{n}}}").expect("into a string");
    }
    lines
}

/// Somebody who publishes all the time.
struct Load(Child);

impl Load {
    fn on(server: &Server) -> Self {
        let file = server.scratch().join("load.ndjson");
        // Ever new series: what is committed has to change the catalog first.
        let lines: String =
            (0..400_000).map(|n| lines(&format!("busy{}", n / 10), n..n + 1)).collect();
        std::fs::write(&file, lines).expect("scratch");
        let file = file.to_string_lossy().into_owned();
        let child = weir()
            .args(["publish", &file, "--batch", "200"])
            .env("WEIR_URL", server.address())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("the program starts"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A server over a copy; its own directory holds nothing else.
fn server_of(copy: &Path) -> Server {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let moved = Command::new("mv").arg(copy).arg(directory.path().join("data")).status();
    assert!(moved.expect("mv is there").success());
    Server::start_in(directory, crate::harness::ANY_DISK.to_owned())
}

fn count(server: &Server, name: &str) -> u64 {
    let sql = format!("SELECT count(*) AS n FROM load WHERE name LIKE '{name}'");
    server.query(&sql)[0]["n"].as_u64().expect("a number")
}

/// What is true of every copy of a directory with all of `before`, as many of `busy` and an open alarm.
fn check(copy: &Path, alarm: &str, busy: u64) {
    let verified = weir().args(["log", "verify"]).arg(copy).output().expect("the program starts");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let server = server_of(copy);
    assert_eq!(count(&server, "before"), BEFORE);
    let copied = count(&server, "busy%");
    assert!(copied >= busy, "{copied} of {busy}");
    let alarms = server.wait_for_rows("SELECT alarm_id FROM alarms", 1, WITHIN);
    assert_eq!(alarms[0]["alarm_id"], alarm, "it is open, under its id");
    // The rules go on from where they were.
    server
        .publish(&(lines("hot", 1_000_000..1_000_001) + "{\"topic\":\"/load/boiler\",\"n\":-1}\n"));
    server.wait_for_rows("SELECT alarm_id FROM alarms WHERE key LIKE '%hot%'", 1, WITHIN);
    let closed =
        format!("SELECT kind FROM alarm_history WHERE alarm_id = '{alarm}' AND kind = 'cleared'");
    server.wait_for_rows(&closed, 1, WITHIN);
    let failed = server.query("SELECT rule, reason FROM system.rules WHERE status = 'failed'");
    assert!(failed.is_empty(), "{failed:?}");
    let twice = "SELECT id FROM alarm_history GROUP BY id HAVING count(*) > 1";
    assert!(server.query(twice).is_empty(), "no id twice");
}

fn prepared() -> (Server, String) {
    let server = Server::start();
    server.define(STREAM);
    server.publish(&lines("before", 0..BEFORE));
    server.publish("{\"topic\":\"/load/boiler\",\"n\":1000001}\n");
    let alarms = server.wait_for_rows("SELECT alarm_id FROM alarms", 1, WITHIN);
    let alarm = alarms[0]["alarm_id"].as_str().expect("an id").to_owned();
    (server, alarm)
}

fn path(server: &Server, name: &str) -> PathBuf {
    server.scratch().join(name)
}

#[test]
fn a_backup_under_load_starts_and_has_every_row_confirmed_before_it_began() {
    let (mut server, alarm) = prepared();
    // The second one into the same directory.
    server.expect("no backup");
    let load = Load::on(&server);
    server.wait_for_rows("SELECT n FROM load WHERE name LIKE 'busy%' LIMIT 1", 1, WITHIN);
    let before = count(&server, "busy%");
    let copy = path(&server, "copy");
    let said = server.ok(&["backup", &copy.to_string_lossy()]);
    assert!(said.contains("copied") && said.contains("every frame of the copy is whole"), "{said}");
    drop(load);
    let again = server.run(&["backup", &copy.to_string_lossy()]);
    assert!(!again.status.success(), "it is not empty");
    check(&copy, &alarm, before);
    // The original goes on.
    server.publish(&lines("after", 0..10));
    assert_eq!(count(&server, "after"), 10);
}

#[test]
fn a_directory_that_no_server_has_open_is_copied_whole() {
    let (mut server, alarm) = prepared();
    let copy = path(&server, "copy");
    server.kill();
    let data = server.data().to_string_lossy().into_owned();
    let said = server.ok(&["backup", &copy.to_string_lossy(), "--data", &data]);
    assert!(said.contains("done: "), "{said}");
    server.restart();
    check(&copy, &alarm, 0);
}
