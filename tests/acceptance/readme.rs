//! The first screen of README.md leads from nothing to an alarm: its commands are run as written.

use std::path::Path;
use std::process::{Command, Stdio};

/// The fenced `sh` blocks of the section with this heading.
fn blocks(readme: &str, heading: &str) -> Vec<String> {
    let section = readme.split(heading).nth(1).expect("the section is there");
    let section = section.split("\n## ").next().expect("a split has a first part");
    section
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("a split has a first part").to_owned())
        .collect()
}

#[test]
fn the_first_screen_leads_to_an_alarm() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"))
        .expect("README.md is there");
    let blocks = blocks(&readme, "## From nothing to an alarm of your own");
    assert!(blocks.len() >= 4, "build and serve, run, publish, ask");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let binary = Path::new(env!("CARGO_BIN_EXE_weir")).parent().expect("it lies in a directory");
    let port = free_port();
    // The binary is built already, and the port must be free here: nothing else is changed.
    let script: String = blocks
        .join("\nsleep 0.2\n")
        .replace("cargo build --release\n", "")
        .replace("export PATH=\"$PWD/target/release:$PATH\"\n", "")
        .replace("weir serve &", &format!("weir serve --http 127.0.0.1:{port} &\nserver=$!\ntrap 'kill -INT $server; wait $server' EXIT\nfor i in $(seq 200); do curl_ready && break; sleep 0.1; done"));
    let script = format!(
        "set -eu\ncurl_ready() {{ weir query 'SELECT 1' >/dev/null 2>&1; }}\n{script}\nsleep 2\nweir alarms\n"
    );
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .arg("-c")
        .arg(&script)
        .current_dir(directory.path())
        .env("PATH", path)
        .env("WEIR_URL", format!("http://127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("2 accepted"), "{text}\n{errors}");
    assert!(text.contains("too_warm"), "an alarm of one's own:\n{text}\n{errors}");
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
