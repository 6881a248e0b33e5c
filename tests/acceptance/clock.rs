//! `weir log clock`, over a server and on a directory.

use crate::harness::Server;

#[test]
fn the_clock_is_shown_and_accepted_over_the_server_and_on_the_directory() {
    let mut server = Server::start();
    let shown = server.ok(&["log", "clock"]);
    assert!(shown.contains("the wall clock agrees with the log"), "{shown}");
    server.ok(&["log", "clock", "--accept"]);
    server.stop();
    let data = server.data().to_string_lossy().into_owned();
    let shown = server.ok(&["log", "clock", &data]);
    assert!(shown.contains("agrees"), "{shown}");
    server.ok(&["log", "clock", &data, "--accept"]);
    server.restart();
    assert!(server.query("SELECT rule FROM alarms").is_empty());
}
