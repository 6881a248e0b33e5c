//! Kafka's wire of the real program, spoken by kcat where it is installed.

use crate::harness::Server;
use std::io::Write;
use std::process::{Command, Stdio};

const ROOMS: &str = "CREATE STREAM rooms (n BIGINT) TOPIC '/room/{room}/s' WITH (partitions = 2);";
const KAFKA: &str = "kafka = \"127.0.0.1:0\"\n";

/// Runs kcat against the server with this input; its standard output, or nothing where there is no kcat.
fn kcat(server: &Server, arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new("kcat");
    command.args(["-q", "-b", &server.listens("kafka://"), "-X", "partitioner=murmur2"]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!("left out: kcat is not installed");
        return None;
    };
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kcat {}: {errors}", arguments.join(" "));
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

/// `key:value` lines of readings.
fn readings(numbers: std::ops::Range<u32>) -> String {
    let line = |n| format!("/room/{}/s;{{\"time\":{},\"n\":{n}}}\n", n % 10, 1_700_000_000 + n);
    numbers.map(line).collect()
}

fn count(server: &Server) -> u64 {
    server.query("SELECT count(*) AS n FROM rooms")[0]["n"].as_u64().expect("a number")
}

#[test]
fn what_kcat_produced_is_there_after_a_kill_and_its_group_goes_on() {
    let mut server = Server::start_configured(KAFKA);
    server.define(ROOMS);
    let produce = ["-P", "-t", "rooms", "-K", ";", "-X", "acks=all", "-z", "snappy"];
    let idempotent = [&produce[..], &["-X", "enable.idempotence=true"]].concat();
    let Some(_) = kcat(&server, &produce, &readings(0..500)) else { return };
    kcat(&server, &idempotent, &readings(500..1000));
    assert_eq!(count(&server), 1000);
    // Ends by itself after so many messages, and commits.
    let consume = [
        "-G",
        "readers",
        "-X",
        "auto.offset.reset=earliest",
        "-f",
        "%k %s\n",
        "-c",
        "400",
        "rooms",
    ];
    let first = kcat(&server, &consume, "").expect("kcat is there");
    assert_eq!(first.lines().count(), 400);
    server.kill();
    server.restart();
    assert_eq!(count(&server), 1000, "what was confirmed is there");
    kcat(&server, &produce, &readings(1000..1200));
    let rest = [
        "-G",
        "readers",
        "-X",
        "auto.offset.reset=earliest",
        "-f",
        "%k %s\n",
        "-c",
        "800",
        "rooms",
    ];
    let second = kcat(&server, &rest, "").expect("kcat is there");
    let mut numbers: Vec<u64> = first
        .lines()
        .chain(second.lines())
        .map(|line| {
            let (key, value) = line.split_once(' ').expect("a key and a value");
            let value: serde_json::Value = serde_json::from_str(value).expect("JSON");
            assert_eq!(value["topic"], key);
            value["n"].as_u64().expect("a number")
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1200).collect::<Vec<_>>(), "each once, over the kill");
}

#[test]
fn alarms_are_a_topic() {
    let server = Server::start_configured(KAFKA);
    server.define(ROOMS);
    server.define(
        "CREATE RULE high SEVERITY high KEY (room) RAISE WHEN n > 5 CLEAR WHEN n < 3
         AS SELECT room, n FROM rooms;",
    );
    let produce = ["-P", "-t", "rooms", "-K", ";"];
    let Some(_) = kcat(&server, &produce, &readings(7..8)) else { return };
    let consume = ["-C", "-t", "weir.alarms", "-o", "beginning", "-c", "1", "-f", "%h %s"];
    let event = kcat(&server, &consume, "").expect("kcat is there");
    let (header, event) = event.split_once(' ').expect("a header and an event");
    assert!(header.starts_with("content-type=application/cloudevents+json"), "{header}");
    assert!(event.contains("\"specversion\":\"1.0\""), "{event}");
}
