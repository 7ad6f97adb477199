//! The recorded behaviour of the OpenSpec CLI, replayed: exit codes, answers in key order, and exact trees.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

mod support;

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use support::ordered::Ordered;
use support::stage::{Case, Run, Snapshot, cases_dir, read_json};
use task_mcp_changes::Clock;
use task_mcp_changes::cli::{self, CliOutput};

/// All recorded runs of `list` and `archive`.
const RUNS: usize = 115;

/// The day every replay happens on, in UTC as recorded.
const DAY: &str = "2026-03-04";

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        "2026-03-04T05:06:07.089Z".parse().unwrap()
    }

    fn today(&self) -> Date {
        DAY.parse().unwrap()
    }
}

/// The one place that runs a command.
fn execute(argv: &[String], cwd: &Path) -> CliOutput {
    cli::run(argv, cwd, &FixedClock)
}

#[test]
fn list_and_archive_behave_as_recorded() {
    let mut runs = 0;
    let mut failures = Vec::new();
    let mut cases: Vec<_> = fs::read_dir(cases_dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    for dir in cases {
        let case: Case = read_json(&dir.join("case.json"));
        let recorded: Vec<Run> = read_json(&dir.join("expected.json"));
        for run in recorded.iter().filter(|run| ["list", "archive"].contains(&run.argv[0].as_str())) {
            runs += 1;
            let found = replay(&case, run, &dir);
            failures.extend(found.into_iter().map(|what| format!("{}/{}: {what}", case.id, run.id)));
        }
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(runs, RUNS, "runs replayed");
}

/// Runs one record in a fresh copy; returns what differs.
fn replay(case: &Case, run: &Run, dir: &Path) -> Vec<String> {
    let stage = tempfile::tempdir().unwrap();
    // macOS and some CI machines have a link in the path of the temporary folder.
    let root = fs::canonicalize(stage.path()).unwrap();
    case.set(dir, &root, DAY);
    let before = Snapshot::of(&root);
    let output = execute(&run.argv, &root);
    let after = Snapshot::of(&root);

    let mut differences = Vec::new();
    let mut differ = |what: &str, expected: String, found: String| {
        if expected != found {
            differences.push(format!("{what}\n  expected: {expected}\n  found:    {found}"));
        }
    };
    let plain = |text: &str| {
        text.replace(&*root.to_string_lossy(), "@ROOT@").replace("2026-03-04T05:06:07.089Z", "@TIMESTAMP@").replace(DAY, "@DATE@")
    };
    differ("exit code", run.exit.to_string(), output.exit_code.to_string());
    differ("stderr", run.stderr.clone(), plain(&output.stderr));
    if let Some(stdout) = &run.stdout {
        differ("stdout", stdout.clone(), plain(&output.stdout));
    }
    if let Some(expected) = &run.stdout_json {
        let found = serde_json::from_str::<Ordered>(&output.stdout).map(|json| json.map_text(&|text| plain(&text)));
        differ("JSON", format!("{expected:?}"), found.map_or_else(|e| e.to_string(), |json| format!("{json:?}")));
        let pretty = output.stdout.starts_with("{\n  \"") && output.stdout.ends_with("}\n");
        differ("pretty JSON with one newline", "true".to_owned(), pretty.to_string());
    }
    let expected = Snapshot::expected(before, &run.tree, &dir.join("after").join(&run.id), DAY);
    for (path, bytes) in &expected.files {
        let text = |bytes: Option<&Vec<u8>>| bytes.map_or("missing".to_owned(), |b| String::from_utf8_lossy(b).into_owned());
        let wanted = plain_day(bytes, path);
        differ(path, text(Some(&wanted)), text(after.files.get(path)));
    }
    differ("files", format!("{:?}", expected.files.keys()), format!("{:?}", after.files.keys()));
    differ("links", format!("{:?}", expected.links), format!("{:?}", after.links));
    differ("empty folders", format!("{:?}", expected.empty_dirs), format!("{:?}", after.empty_dirs));
    differences
}

/// The recorded day in the bytes the CLI wrote, put back; only metadata carries it.
fn plain_day(bytes: &[u8], path: &str) -> Vec<u8> {
    if path.ends_with(".openspec.yaml") {
        String::from_utf8_lossy(bytes).replace("@DATE@", DAY).into_bytes()
    } else {
        bytes.to_vec()
    }
}
