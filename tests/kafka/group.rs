//! Processes of weir that share the partitions of a stream.
//!
//! Promise: none outlives the test.

use crate::published::DEFINITIONS;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A group, and where it keeps checkpoints.
pub(crate) struct Group {
    name: String,
    brokers: String,
    directory: tempfile::TempDir,
    processes: Vec<Process>,
}

/// One of them.
struct Process {
    child: Child,
    /// Where it takes readings.
    address: String,
}

impl Group {
    pub(crate) fn new(name: &str, brokers: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let write = |file: &str, text: &str| {
            std::fs::write(directory.path().join(file), text).expect("it is writable");
        };
        write("climate.sql", DEFINITIONS);
        write("weir.toml", &configuration(directory.path()));
        let (name, brokers) = (name.to_owned(), brokers.to_owned());
        Self { name, brokers, directory, processes: Vec::new() }
    }

    /// The topic its alarms go to.
    pub(crate) fn alarms(&self) -> String {
        format!("{}.weir-alarms", self.name)
    }

    /// Starts one more process; it is in the group, or on its way there, when this returns.
    pub(crate) fn start(&mut self) {
        let at = |file: &str| self.directory.path().join(file);
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["serve", "--log", &format!("kafka://{}", self.brokers), "--group", &self.name])
            .args(["--http", "127.0.0.1:0"])
            .arg("--config")
            .arg(at("weir.toml"))
            .arg("--define")
            .arg(at("climate.sql"))
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("piped");
        let (sender, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        let said = |begin: &str| {
            let line = told.recv_timeout(Duration::from_secs(60)).expect("it says what it does");
            line.strip_prefix(begin).unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        said("weir shares kafka://");
        let address = said("weir listens on http://");
        self.processes.push(Process { child, address });
    }

    /// Posts lines of JSON; the answer with its status line.
    pub(crate) fn post(&self, process: usize, lines: &str, headers: &str) -> String {
        let address = &self.processes[process].address;
        let mut socket = TcpStream::connect(address).expect("it listens");
        let length = lines.len();
        let head = format!(
            "POST /v1/readings HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/x-ndjson\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        socket.write_all(format!("{head}{lines}").as_bytes()).expect("it takes the request");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, process: usize) {
        let mut child = self.processes.remove(process).child;
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    /// A signal by its name: STOP, CONT or TERM.
    pub(crate) fn signal(&self, process: usize, name: &str) {
        let pid = self.processes[process].child.id().to_string();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(pid).status();
        assert!(sent.expect("a shell's kill").success(), "{name}");
    }

    /// SIGTERM to all; each has to end well.
    pub(crate) fn stop(mut self) {
        for process in 0..self.processes.len() {
            self.signal(process, "TERM");
        }
        for Process { mut child, .. } in self.processes.drain(..) {
            let status = child.wait().expect("it ends");
            assert!(status.success(), "{status}");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for Process { child, .. } in &mut self.processes {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Checkpoints every few rows, so that what comes after one is always little; the group notices quickly
/// who is gone.
fn configuration(directory: &std::path::Path) -> String {
    format!(
        "[cluster]\ncheckpoints = \"file://{}/checkpoints\"\ncheckpoint_bytes = 20000\n\
         [cluster.keyed_by]\nclimate = [\"room\"]\n\
         [cluster.properties]\n\"session.timeout.ms\" = \"3000\"\n\"heartbeat.interval.ms\" = \"500\"\n",
        directory.display()
    )
}
