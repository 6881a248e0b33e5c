//! Apache Kafka itself, for tests: one broker, from jars that Maven fetches.
//!
//! Promise: where it cannot be had, that is said in one sentence and the tests that want it are skipped.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// A running broker; killed when this goes, or the process.
pub(crate) struct Broker {
    directory: tempfile::TempDir,
    jars: PathBuf,
    ports: [u16; 2],
    running: Option<(Child, ChildStdin)>,
}

impl Broker {
    /// Starts one with nothing in it.
    pub(crate) fn start() -> Result<Self, String> {
        let jars = jars()?;
        let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut broker = Self { directory, jars, ports: free_ports()?, running: None };
        broker.resume()?;
        Ok(broker)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// Kills it; its records stay.
    pub(crate) fn kill(&mut self) {
        if let Some((mut child, stdin)) = self.running.take() {
            drop(stdin);
            drop(child.wait());
        }
    }

    /// Starts it again over its records; ready when this returns.
    pub(crate) fn resume(&mut self) -> Result<(), String> {
        let mut child = Command::new(script("broker.sh"))
            .arg(&self.jars)
            .arg(self.directory.path())
            .args(self.ports.map(|port| port.to_string()))
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|e| format!("broker.sh: {e}"))?;
        let stdin = child.stdin.take().ok_or("broker.sh has no standard input")?;
        self.running = Some((child, stdin));
        let address: SocketAddr = self.address().parse().map_err(|e| format!("{e}"))?;
        for _ in 0..1200 {
            if TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let out = std::fs::read_to_string(self.directory.path().join("out.txt"));
        Err(format!("the broker does not listen: {}", out.unwrap_or_default()))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The jars, fetched once; why not, where they cannot be.
fn jars() -> Result<PathBuf, String> {
    static JARS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let fetch = || {
        let out =
            Command::new(script("fetch.sh")).output().map_err(|e| format!("fetch.sh: {e}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match out.status.success() {
            true => Ok(PathBuf::from(text(&out.stdout))),
            false => Err(text(&out.stderr)),
        }
    };
    JARS.get_or_init(fetch).clone()
}

/// A script beside this file, for the tests of any crate.
fn script(name: &str) -> PathBuf {
    let below = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of_the_program = below.join("tests/kafka").join(name);
    match of_the_program.exists() {
        true => of_the_program,
        false => below.join("../tests/kafka").join(name),
    }
}

fn free_ports() -> Result<[u16; 2], String> {
    let free = || TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string());
    let (one, other) = (free()?, free()?);
    let port = |l: &TcpListener| l.local_addr().map(|a| a.port()).map_err(|e| e.to_string());
    Ok([port(&one)?, port(&other)?])
}
