//! The MQTT door of the real program, spoken by the clients people have.

use crate::harness::Server;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const ROOMS: &str = "CREATE STREAM rooms (n BIGINT) TOPIC '/room/{room}/s' WITH (partitions = 2);";
const MQTT: &str = "mqtt = \"127.0.0.1:0\"\n";

fn server() -> Server {
    let server = Server::start_configured(MQTT);
    server.define(ROOMS);
    server
}

/// Host and port of the MQTT listener.
fn address(server: &Server) -> (String, String) {
    let listens = server.listens("mqtt://");
    let (host, port) = listens.rsplit_once(':').expect("host and port");
    (host.to_owned(), port.to_owned())
}

/// What a script of `tests/mqtt` prints; `None`, and said, where it finds that it cannot be.
fn fetched(script: &str) -> Option<String> {
    let path = format!("{}/tests/mqtt/{script}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("bash").arg(path).output().expect("bash is there");
    if output.status.code() == Some(3) {
        println!("left out: {}", String::from_utf8_lossy(&output.stderr).trim());
        return None;
    }
    Some(succeeded(output).trim().to_owned())
}

fn succeeded(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// One of mosquitto's clients against the server, with this input; `None`, and said, where it is not there.
fn mosquitto(server: &Server, name: &str, arguments: &[&str], input: &str) -> Option<String> {
    let (host, port) = address(server);
    let mut command = Command::new(name);
    command.args(["-h", &host, "-p", &port]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!("left out: {name} is not installed");
        return None;
    };
    let mut stdin = child.stdin.take().expect("piped");
    // One that only listens does not read.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    Some(succeeded(child.wait_with_output().expect("it ends")))
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|n| format!("{{\"time\":{},\"n\":{n}}}\n", 1_700_000_000 + n)).collect()
}

/// Distinct numbers, and rows.
fn counts(server: &Server) -> (u64, u64) {
    let row = server.query("SELECT count(DISTINCT n) AS numbers, count(*) AS n FROM rooms");
    (row[0]["numbers"].as_u64().expect("a number"), row[0]["n"].as_u64().expect("a number"))
}

#[test]
fn what_mosquitto_published_is_there_after_a_kill() {
    let mut server = server();
    for (version, numbers) in [("mqttv311", 0..300), ("mqttv5", 300..600)] {
        for qos in ["1", "2"] {
            let third = numbers.len() as u32 / 2;
            let from = numbers.start + if qos == "2" { third } else { 0 };
            let input = lines(from..from + third);
            let arguments = ["-V", version, "-q", qos, "-t", "/room/1/s", "-l"];
            if mosquitto(&server, "mosquitto_pub", &arguments, &input).is_none() {
                return;
            }
        }
    }
    server.kill();
    server.restart();
    assert_eq!(counts(&server), (600, 600));
}

#[test]
fn mosquitto_hears_the_alarm_of_a_reading() {
    let server = server();
    server.define(
        "CREATE RULE high SEVERITY high KEY (room) RAISE WHEN n > 5 CLEAR WHEN n < 3
         AS SELECT room, n FROM rooms;",
    );
    let event = std::thread::scope(|threads| {
        let hears = || {
            let arguments =
                ["-V", "mqttv5", "-q", "1", "-C", "1", "-W", "60", "-t", "$weir/alarms/#"];
            mosquitto(&server, "mosquitto_sub", &arguments, "")
        };
        let hearing = threads.spawn(hears);
        for second in 1_700_000_000.. {
            if hearing.is_finished() {
                break;
            }
            let n = if second % 2 == 0 { 7 } else { 2 };
            let input = format!("{{\"time\":{second},\"n\":{n}}}\n");
            let arguments = ["-q", "1", "-t", "/room/1/s", "-l"];
            mosquitto(&server, "mosquitto_pub", &arguments, &input);
        }
        hearing.join().expect("it ended")
    });
    let Some(event) = event else { return };
    let event: serde_json::Value = serde_json::from_str(event.trim()).expect("JSON");
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["data"]["key"]["room"], "1", "{event}");
}

#[test]
fn who_subscribes_is_told_the_latest_reading() {
    let server = server();
    for n in [3, 4] {
        let time = 1_700_000_000 + n;
        server.publish(&format!("{{\"topic\":\"/room/1/s\",\"time\":{time},\"n\":{n}}}\n"));
    }
    let arguments = ["-C", "1", "-W", "60", "-t", "/room/+/s", "-F", "%r %t %p"];
    let Some(said) = mosquitto(&server, "mosquitto_sub", &arguments, "") else { return };
    let expected = r#"{"topic":"/room/1/s","time":"2023-11-14T22:13:24Z","n":4}"#;
    assert_eq!(said, format!("1 /room/1/s {expected}\n"));
}

#[test]
fn paho_publishes_and_hears_over_tcp_and_over_websocket() {
    let server = server();
    let Some(python) = fetched("python.sh") else { return };
    let script = format!("{}/tests/mqtt/client.py", env!("CARGO_MANIFEST_DIR"));
    let (tcp, http) = (address(&server), server.address().trim_start_matches("http://"));
    let (http_host, http_port) = http.rsplit_once(':').expect("host and port");
    let mut first = 0;
    for version in ["3.1.1", "5"] {
        for (transport, host, port) in
            [("tcp", &*tcp.0, &*tcp.1), ("websockets", http_host, http_port)]
        {
            let from = first.to_string();
            let arguments = [&*script, version, transport, host, port, &*from, "200"];
            let output = Command::new(&python).args(arguments).output().expect("python starts");
            assert_eq!(succeeded(output), "published 200\nheard 200\n", "{version} {transport}");
            first += 200;
        }
    }
    assert_eq!(counts(&server), (800, 800));
}

#[test]
fn a_page_publishes_and_hears_over_websocket() {
    let server = server();
    let Some(modules) = fetched("node.sh") else { return };
    let script = format!("{}/tests/mqtt/browser.js", env!("CARGO_MANIFEST_DIR"));
    let url = format!("{}/mqtt", server.address().replace("http://", "ws://"));
    for (version, first) in [("3.1.1", "0"), ("5", "200")] {
        let arguments = [&*script, &*modules, &*url, version, first, "200"];
        let output = Command::new("node").args(arguments).output().expect("node starts");
        let mut said: Vec<String> = succeeded(output).lines().map(str::to_owned).collect();
        said.sort_unstable();
        assert_eq!(said, ["heard 200", "published 200"], "{version}");
    }
    assert_eq!(counts(&server), (400, 400));
}
