//! A disk that takes no more: a limit on the size of files, which processes inherit, stands in for it.

use crate::harness::Server;
use std::fmt::Write;
use std::time::Duration;

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
