//! Starts the real binary on a free port with a directory of its own, and listens to what it says.
//!
//! Promise: a WARN or ERROR line on the server's standard error that a test did not announce fails
//! the test.

use parking_lot::Mutex;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const START_WITHIN: Duration = Duration::from_secs(60);
/// How full the disk of the machine is, is not what is tested.
pub(crate) const ANY_DISK: &str =
    "[ingest.room]\nsoft_permille = 0\nsoft_bytes = 0\nhard_permille = 0\nhard_bytes = 0\n";

/// A running server, its data directory, and what it said.
#[derive(Debug)]
pub(crate) struct Server {
    child: Option<Child>,
    address: String,
    directory: Arc<tempfile::TempDir>,
    said: Arc<Mutex<Vec<String>>>,
    /// Lines of its standard output since it was started.
    printed: Arc<Mutex<Vec<String>>>,
    expected: Vec<&'static str>,
    configuration: String,
    /// Lines of the shell that starts it, where one does; they hold for one start.
    before: Option<&'static str>,
}

/// The binary under test.
pub(crate) fn weir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.env_remove("WEIR_URL").env("CI", "true");
    command
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// The binary under test, after these lines of a shell.
fn under(lines: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{lines}\nexec \"$0\" \"$@\"")).arg(env!("CARGO_BIN_EXE_weir"));
    command.env_remove("WEIR_URL").env("CI", "true");
    command
}

impl Server {
    /// A server with the default configuration.
    pub(crate) fn start() -> Self {
        Self::start_configured("")
    }

    /// A server that a shell starts after `lines`, for limits that processes inherit.
    pub(crate) fn start_under(lines: &'static str) -> Self {
        Self::start_with(temporary(), ANY_DISK.to_owned(), Some(lines))
    }

    /// A server with this `weir.toml`.
    pub(crate) fn start_configured(configuration: &str) -> Self {
        Self::start_with(temporary(), format!("{configuration}\n{ANY_DISK}"), None)
    }

    /// A server in this directory, with this `weir.toml` and nothing more.
    pub(crate) fn start_in(directory: tempfile::TempDir, configuration: String) -> Self {
        Self::start_with(directory, configuration, None)
    }

    fn start_with(
        directory: tempfile::TempDir,
        configuration: String,
        before: Option<&'static str>,
    ) -> Self {
        weir::cli::install_crypto();
        let mut server = Self {
            child: None,
            address: String::new(),
            directory: Arc::new(directory),
            said: Arc::default(),
            printed: Arc::default(),
            expected: Vec::new(),
            configuration,
            before,
        };
        server.launch();
        server
    }

    fn launch(&mut self) {
        let mut command = match self.before.take() {
            Some(lines) => under(lines),
            None => weir(),
        };
        command.arg("serve").arg("--data").arg(self.data()).args(["--http", "127.0.0.1:0"]);
        let path = self.directory.path().join("weir.toml");
        std::fs::write(&path, &self.configuration).expect("the configuration can be written");
        command.arg("--config").arg(path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = child.stderr.take().expect("piped");
        let said = Arc::clone(&self.said);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                said.lock().push(line);
            }
        });
        let stdout = child.stdout.take().expect("piped");
        let (sender, address) = mpsc::channel();
        self.printed = Arc::default();
        let printed = Arc::clone(&self.printed);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                printed.lock().push(line.clone());
                if let Some(at) = line.find("http://") {
                    let address = line[at..].split_whitespace().next().unwrap_or("").to_owned();
                    if sender.send(address).is_err() {
                        tracing::debug!("a later address line");
                    }
                }
            }
        });
        self.child = Some(child);
        self.address = address.recv_timeout(START_WITHIN).unwrap_or_else(|_| {
            panic!("the server named no address; it said:\n{}", self.said.lock().join("\n"))
        });
    }

    /// Where another door listens, by the scheme it is printed with.
    pub(crate) fn listens(&self, scheme: &str) -> String {
        let until = Instant::now() + START_WITHIN;
        loop {
            let lines = self.printed.lock().clone();
            let found = lines.iter().find_map(|line| line.split_once(scheme));
            match found {
                Some((_, address)) => return address.trim().to_owned(),
                None if Instant::now() > until => panic!("{scheme} is not printed: {lines:?}"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Warnings with these words are part of the test.
    pub(crate) fn expect(&mut self, words: &'static str) {
        self.expected.push(words);
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A directory for the test's own files.
    pub(crate) fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// SIGKILL, now.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
    }

    /// SIGINT, and waits for the end.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = child.id().to_string();
            Command::new("kill").args(["-INT", &pid]).status().expect("kill is there");
            let until = Instant::now() + START_WITHIN;
            loop {
                match child.try_wait().expect("it is ours") {
                    Some(status) => break assert!(status.success(), "a clean stop ends with 0"),
                    None if Instant::now() > until => panic!("the server does not stop"),
                    None => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        }
    }

    /// Waits for it to end by itself; its code.
    pub(crate) fn ended(&mut self, within: Duration) -> Option<i32> {
        let mut child = self.child.take().expect("it was started");
        let until = Instant::now() + within;
        loop {
            match child.try_wait().expect("it is ours") {
                Some(status) => break status.code(),
                None if Instant::now() > until => {
                    child.kill().expect("it is ours");
                    child.wait().expect("it is ours");
                    panic!("the server does not end; it said:\n{}", self.said.lock().join("\n"));
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Starts it again over the same directory.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    /// Runs the program against it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        weir().args(arguments).env("WEIR_URL", &self.address).output().expect("the program starts")
    }

    /// As [`Self::run`], and fails unless it ended with 0; its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "weir {}: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs statements.
    pub(crate) fn define(&self, sql: &str) {
        let file = self.scratch().join("define.sql");
        std::fs::write(&file, sql).expect("the scratch directory is writable");
        self.ok(&["run", &file.to_string_lossy()]);
    }

    /// Publishes lines.
    pub(crate) fn publish(&self, lines: &str) -> String {
        let file = self.scratch().join("publish.ndjson");
        std::fs::write(&file, lines).expect("the scratch directory is writable");
        self.ok(&["publish", &file.to_string_lossy()])
    }

    /// The rows of a query, one JSON object each.
    pub(crate) fn query(&self, sql: &str) -> Vec<serde_json::Value> {
        let text = self.ok(&["query", sql, "--format", "ndjson"]);
        text.lines()
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
            .collect()
    }

    /// Asks until the query has at least `rows` rows.
    pub(crate) fn wait_for_rows(
        &self,
        sql: &str,
        rows: usize,
        within: Duration,
    ) -> Vec<serde_json::Value> {
        let until = Instant::now() + within;
        loop {
            let found = self.query(sql);
            if found.len() >= rows {
                return found;
            }
            assert!(
                Instant::now() < until,
                "{sql}: {} of {rows} rows after {within:?}",
                found.len()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server said:\n{}", self.said.lock().join("\n"));
            if let Some(mut child) = self.child.take() {
                child.kill().ok();
                child.wait().ok();
            }
            return;
        }
        self.stop();
        let unexpected: Vec<String> = self
            .said
            .lock()
            .iter()
            .filter(|line| [" WARN ", " ERROR ", "panicked"].iter().any(|word| line.contains(word)))
            .filter(|line| !self.expected.iter().any(|words| line.contains(words)))
            .cloned()
            .collect();
        assert!(unexpected.is_empty(), "the server complained:\n{}", unexpected.join("\n"));
    }
}
