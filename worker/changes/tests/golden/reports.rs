//! The recorded reports of `validate`, compared with what the crate finds for the same files.

use std::fs;
use std::path::Path;

use task_mcp_changes::validate::{Issue, change_in, spec};

use crate::harness::ordered::Ordered;
use crate::harness::stage::{Case, Run, cases, read_json};

/// Items compared: changes and main specs of all recorded single-item reports.
const ITEMS: usize = 121;

#[test]
fn issues_are_found_as_recorded() {
    let mut items = 0;
    let mut failures = Vec::new();
    for dir in cases() {
        let case: Case = read_json(&dir.join("case.json"));
        let stage = tempfile::tempdir().unwrap();
        case.set(&dir, stage.path(), "2026-03-04");
        let recorded: Vec<Run> = read_json(&dir.join("expected.json"));
        for run in
            recorded.iter().filter(|run| run.argv[0] == "validate" && !run.argv.iter().any(|a| a == "--archived"))
        {
            let Some(Ordered::List(list)) = run.stdout_json.as_ref().and_then(|json| json.get("items")) else {
                continue;
            };
            for item in list {
                let (Some(Ordered::Text(id)), Some(Ordered::Text(kind))) = (item.get("id"), item.get("type")) else {
                    panic!("an item without id")
                };
                // The task lint and the namespace check belong to the report, not to what archiving needs.
                if case.id == "tasks-lint" || id == "team" {
                    continue;
                }
                items += 1;
                let found = issues(stage.path(), id, kind);
                let found = format!("{:?}", Ordered::List(found.iter().map(as_json).collect()));
                let expected = format!("{:?}", item.get("issues").unwrap().clone());
                if found != expected {
                    failures.push(format!("{}/{id}:\n  expected: {expected}\n  found:    {found}", case.id));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(items, ITEMS, "items compared");
}

fn issues(root: &Path, id: &str, kind: &str) -> Vec<Issue> {
    if kind == "spec" {
        return spec(&fs::read_to_string(root.join("openspec/specs").join(id).join("spec.md")).unwrap());
    }
    change_in(root, id).unwrap()
}

fn as_json(issue: &Issue) -> Ordered {
    let text = |text: &str| Ordered::Text(text.to_owned());
    let mut pairs = vec![("level".to_owned(), text(issue.level.word())), ("path".to_owned(), text(&issue.path))];
    pairs.extend(issue.line.map(|line| ("line".to_owned(), Ordered::Number(line as f64))));
    pairs.push(("message".to_owned(), text(&issue.message)));
    Ordered::Object(pairs)
}
