//! The command where it once differed from the OpenSpec CLI 1.13.2; what is expected here was seen there.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use task_mcp_changes::cli::{self, CliOutput};
use task_mcp_changes::{Store, SystemClock};

use crate::world::{DELTA, World, archiving};

const SPEC: &str = "# a\n\n## Purpose\nThis is the purpose, long enough to pass the limit of it all.\n\n## Requirements\n\n\
                    ### Requirement: A\nIt SHALL.\n\n#### Scenario: s\n- x\n";
const REMOVE: &str = "## REMOVED Requirements\n### Requirement: A\n";
const RETIRE: &str = "schema: spec-driven\nretire_capabilities: true\n";

fn run(world: &World, argv: &[&str]) -> CliOutput {
    let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
    cli::run(&argv, world.root(), &SystemClock)
}

/// Code and the remedy, else the message, of a refused `archive c -y --json`.
fn refusal(world: &World) -> (String, String) {
    let output = run(world, &["archive", "c", "-y", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let status = &answer["status"][0];
    let text = status.get("fix").unwrap_or(&status["message"]);
    (status["code"].as_str().unwrap_or("archived").to_owned(), text.as_str().unwrap_or_default().to_owned())
}

fn world(delta: &str, spec: Option<&str>, metadata: Option<&str>) -> World {
    let world = World::new();
    world.write("openspec/changes/c/proposal.md", "x");
    world.write("openspec/changes/c/specs/a/spec.md", delta);
    if let Some(spec) = spec {
        world.write("openspec/specs/a/spec.md", spec);
    }
    if let Some(metadata) = metadata {
        world.write("openspec/changes/c/.openspec.yaml", metadata);
    }
    world
}

#[test]
fn retiring_what_is_not_there_is_done_already() {
    assert_eq!(refusal(&world(REMOVE, None, Some(RETIRE))).0, "archived");
    assert_eq!(refusal(&world(REMOVE, None, None)).0, "archive_spec_validation_failed");
}

#[test]
fn what_retiring_would_lose_is_named_but_not_in_full() {
    let long = "y".repeat(250);
    let spec = format!("{SPEC}\n## Notes\n{long}\nthr\u{7}ee\nfour\nfive\n");
    let (_, declared) = refusal(&world(REMOVE, Some(&spec), Some(RETIRE)));
    let list = format!("\"## Notes\", \"{}…\", \"thr?ee\", and 2 more line(s). Move it", "y".repeat(200));
    assert!(
        declared.starts_with("'a' declares retire_capabilities, but the spec holds") && declared.contains(&list),
        "{declared}"
    );
    let (_, undeclared) = refusal(&world(REMOVE, Some(&spec), None));
    assert!(undeclared.contains("it is refused while the spec holds") && undeclared.contains(&list), "{undeclared}");
}

#[test]
fn notes_count_as_a_delta_when_they_would_be_read_as_one() {
    let notes = |text: &str| {
        let world = world(DELTA, None, None);
        world.write("openspec/changes/c/specs/a/notes.md", text);
        refusal(&world).0
    };
    assert_eq!(notes(&format!("\u{feff}{DELTA}")), "archive_validation_failed");
    assert_eq!(notes("## ADDED  Requirements\n"), "archived");
    assert_eq!(notes("## ADDED\u{a0}Requirements\n"), "archived");
}

#[test]
fn times_are_rounded_and_specs_sorted_as_the_cli_does() {
    let world = world(DELTA, None, None);
    for id in ["b-a", "b_a", "B", "auth", "zz", "Über"] {
        world.write(&format!("openspec/specs/{id}/spec.md"), SPEC);
    }
    let listed = run(&world, &["list", "--specs"]).stdout;
    let ids: Vec<&str> = listed.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(ids, ["auth", "B", "b_a", "b-a", "Über", "zz"]);
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 700_000);
    for path in ["proposal.md", "specs/a/spec.md"] {
        let file = fs::File::open(world.path("openspec/changes/c").join(path)).unwrap();
        file.set_times(fs::FileTimes::new().set_modified(time)).unwrap();
    }
    assert!(run(&world, &["list", "--json"]).stdout.contains("2023-11-14T22:13:20.001Z"));
}

#[test]
fn paths_that_lead_out_are_refused_before_anything_is_checked() {
    let outside = tempfile::tempdir().unwrap();
    let linked = world("## ADDED Requirements\n### Requirement: no scenario\n", None, None);
    symlink(outside.path(), linked.path("openspec/changes/archive")).unwrap();
    assert_eq!(refusal(&linked).0, "archive_path_outside_root");
    let dangling = world(DELTA, None, None);
    symlink("nowhere", dangling.path("openspec/changes/c/tasks.md")).unwrap();
    let (code, message) = refusal(&dangling);
    assert!(code == "archive_error" && message.starts_with("Cannot verify dangling symbolic link: "), "{message}");
    let folder = world(DELTA, None, None);
    fs::create_dir_all(folder.path("openspec/specs/a/spec.md")).unwrap();
    assert_eq!(refusal(&folder).0, "archive_spec_update_failed");
}

#[test]
fn a_name_in_a_remedy_is_one_word_to_a_shell() {
    for (name, said) in [
        ("it's", "openspec archive \"it's\" --yes"),
        ("a b", "openspec archive \"a b\" --yes"),
        ("a$b", "openspec archive <change-name> --yes"),
        ("a.b_c-1", "openspec archive a.b_c-1 --yes"),
    ] {
        let world = World::new();
        world.write(&format!("openspec/changes/{name}/tasks.md"), "- [ ] x\n");
        let error = run(&world, &["archive", name]).stderr;
        assert!(error.ends_with(&format!("rerun with {said}\n")), "{error}");
    }
}

#[test]
fn names_are_compared_without_any_closing_hashes() {
    let delta = "## MODIFIED Requirements\n### Requirement: A ## ##\nIt SHALL.\n#### Scenario: s\n- x\n## REMOVED Requirements\n\
                 ### Requirement: A ##\n";
    assert_eq!(refusal(&world(delta, Some(SPEC), None)).0, "archive_validation_failed");
}

#[tokio::test]
async fn the_tool_keeps_to_the_same_rules() {
    let world = world(DELTA, None, None);
    fs::rename(world.path("openspec/changes/c"), world.path("openspec/changes/ccc")).unwrap();
    world.write("openspec/changes/ccc/specs/a/notes.md", &format!("\u{feff}{DELTA}"));
    let error = world.store.archive(archiving("ccc", "ana")).await.unwrap_err();
    assert_eq!(error.details().unwrap()["code"], "archive_validation_failed");
}
