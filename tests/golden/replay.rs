//! `list` and `archive`, replayed: exit codes, answers in key order, and exact trees.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::ordered::Ordered;
use crate::harness::stage::{Case, Run, Snapshot, cases, read_json};

/// All recorded runs of `list` and `archive`.
const RUNS: usize = 115;

/// Runs the binary as the CLI was run when it was recorded.
fn execute(argv: &[String], cwd: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_task-mcp"))
        .arg("openspec")
        .args(argv)
        .current_dir(cwd)
        .env_clear()
        .envs([("TZ", "UTC"), ("LANG", "C.UTF-8"), ("NO_COLOR", "1"), ("CI", "1")])
        .env("HOME", cwd.join("no-home"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The day the binary sees, in UTC.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    jiff::Timestamp::from_second(seconds as i64).unwrap().to_string()[..10].to_owned()
}

#[test]
fn list_and_archive_behave_as_recorded() {
    let mut runs = 0;
    let mut failures = Vec::new();
    for dir in cases() {
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

/// Runs one record in a fresh copy; returns what differs. A run that crosses midnight is run again.
fn replay(case: &Case, run: &Run, dir: &Path) -> Vec<String> {
    let day = today();
    let differences = replay_on(&day, case, run, dir);
    if day == today() { differences } else { replay_on(&today(), case, run, dir) }
}

fn replay_on(day: &str, case: &Case, run: &Run, dir: &Path) -> Vec<String> {
    let stage = tempfile::tempdir().unwrap();
    // macOS and some CI machines have a link in the path of the temporary folder.
    let root = fs::canonicalize(stage.path()).unwrap();
    case.set(dir, &root, day);
    let before = Snapshot::of(&root);
    let output = execute(&run.argv, &root);
    let after = Snapshot::of(&root);

    let mut differences = Vec::new();
    let mut differ = |what: &str, expected: String, found: String| {
        if expected != found {
            differences.push(format!("{what}\n  expected: {expected}\n  found:    {found}"));
        }
    };
    let plain = |text: &str| text.replace(&*root.to_string_lossy(), "@ROOT@").replace(day, "@DATE@");
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    differ("exit code", format!("{:?}", Some(run.exit)), format!("{:?}", output.status.code()));
    differ("stderr", run.stderr.clone(), plain(&without_times(&stderr)));
    if let Some(expected) = &run.stdout {
        differ("stdout", expected.clone(), plain(&without_times(&stdout)));
    }
    if let Some(expected) = &run.stdout_json {
        let found = serde_json::from_str::<Ordered>(&stdout).map(|json| json.map_text(&|text| plain(&text)));
        differ("JSON", format!("{expected:?}"), found.map_or_else(|e| e.to_string(), |json| format!("{json:?}")));
        let pretty = stdout.starts_with("{\n  \"") && stdout.ends_with("}\n");
        differ("pretty JSON with one newline", "true".to_owned(), pretty.to_string());
    }
    let expected = Snapshot::expected(before, &run.tree, &dir.join("after").join(&run.id), day);
    for (path, bytes) in &expected.files {
        let text =
            |bytes: Option<&Vec<u8>>| bytes.map_or("missing".to_owned(), |b| String::from_utf8_lossy(b).into_owned());
        let wanted = plain_day(bytes, path, day);
        differ(path, text(Some(&wanted)), text(after.files.get(path)));
    }
    differ("files", format!("{:?}", expected.files.keys()), format!("{:?}", after.files.keys()));
    differ("links", format!("{:?}", expected.links), format!("{:?}", after.links));
    differ("empty folders", format!("{:?}", expected.empty_dirs), format!("{:?}", after.empty_dirs));
    differences
}

/// The recorded day in the bytes the CLI wrote, put back; only metadata carries it.
fn plain_day(bytes: &[u8], path: &str, day: &str) -> Vec<u8> {
    if path.ends_with(".openspec.yaml") {
        String::from_utf8_lossy(bytes).replace("@DATE@", day).into_bytes()
    } else {
        bytes.to_vec()
    }
}

/// Times of the run as the recording has them; only prose carries any.
fn without_times(text: &str) -> String {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00.000Z";
    let is_time = |at: usize| {
        text.as_bytes().get(at..at + SHAPE.len()).is_some_and(|found| {
            found
                .iter()
                .zip(SHAPE)
                .all(|(byte, shape)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape })
        })
    };
    let mut plain = text.to_owned();
    for at in (0..text.len()).rev().filter(|at| is_time(*at)) {
        plain.replace_range(at..at + SHAPE.len(), "@TIMESTAMP@");
    }
    plain
}
