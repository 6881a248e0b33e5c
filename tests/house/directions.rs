//! Inside a crate the rooms stand in one order; a room uses only those before it.

use crate::{check, files};

/// Rooms of each crate in reading order. A new top-level module takes its place here first.
const ROOMS: [(&str, &[&str]); 3] = [
    ("ingest", &["sabotage", "model", "io", "log", "decode", "kafka", "doors"]),
    ("engine", &["sabotage", "stream", "state", "alarms", "sql", "tables", "deliver", "runtime"]),
    ("queries", &["catalog", "session", "http"]),
];

#[test]
fn a_room_uses_only_the_rooms_before_it() {
    let mut findings = Vec::new();
    for source in files(".rs").iter().filter(|source| !source.is_test()) {
        for (name, rooms) in ROOMS {
            let Some(inner) = source.path.strip_prefix(&format!("{name}/src/")) else { continue };
            let room = inner.split(['/', '.']).next().unwrap_or(inner);
            if room == "lib" {
                continue;
            }
            let Some(place) = rooms.iter().position(|r| *r == room) else {
                findings.push(format!("{}: '{room}' has no place in the order", source.path));
                continue;
            };
            for used in rooms_used(&source.text) {
                if rooms.iter().position(|r| *r == used).is_some_and(|other| other > place) {
                    findings.push(format!("{}: {room} uses the later room {used}", source.path));
                }
            }
        }
    }
    check("rooms of a crate depend in one direction", &findings);
}

/// First path segments after `crate::`, braces included, comments and inline tests left out.
fn rooms_used(text: &str) -> Vec<String> {
    let mut used = Vec::new();
    let code: Vec<&str> = text
        .split("#[cfg(test)]\nmod tests {")
        .take(1)
        .flat_map(str::lines)
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => used.push(first_word(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut start = true;
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if c.is_whitespace() => {}
                        _ if start && depth == 0 => {
                            used.push(first_word(&list[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    used
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn a_braced_use_names_each_of_its_rooms() {
    let used =
        rooms_used("use crate::{model::{A, B}, io, log::C};\nlet x = crate::doors::serve();");
    assert_eq!(used, ["model", "io", "log", "doors"]);
}
