//! Real clients, each in every era it knows, as agents and IDEs use them: the SDKs of Python and TypeScript, FastMCP, the inspector,
//! and mcpcheck, which only judges.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::support::{Cluster, Finished, Server, Tree, finish, node_of_suite, program};

/// What no client needs on a machine that does other things beside it.
const LIMIT: Duration = Duration::from_secs(60);
const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A program that `scripts/test` installs.
fn installed(file: PathBuf) -> PathBuf {
    assert!(file.exists(), "{} is missing; scripts/test installs the clients", file.display());
    file
}

/// A script for the clients in Python.
fn python(script: &str) -> Command {
    let folder = clients().join("python");
    let mut command = Command::new(installed(folder.join(".venv/bin/python")));
    command.arg(folder.join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A script for one of the TypeScript SDKs.
fn node(script: &str) -> Command {
    let folder = clients().join("node");
    installed(folder.join("node_modules/@modelcontextprotocol/client/package.json"));
    let mut command = Command::new(find("node"));
    command.arg(folder.join(script));
    command
}

/// A program on the `PATH`.
fn find(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
        .unwrap_or_else(|| name.into())
}

/// Runs a client to its end: what it printed as JSON. It prints nothing else, and fails by itself at what is not as promised.
fn printed(command: Command) -> Value {
    let told = format!("{command:?}");
    let Finished { code, stdout, stderr } = finish(command, LIMIT);
    assert_eq!(code, 0, "{told}\n{stdout}\n{stderr}");
    serde_json::from_str(stdout.trim()).unwrap_or_else(|error| panic!("{told}: {error}: {stdout}\n{stderr}"))
}

/// The revision a client must agree on in a mode.
fn expected(mode: &str) -> &'static str {
    if mode == "legacy" { LEGACY } else { MODERN }
}

/// A client in its working day: it lists the tools, lists, opens and shows a change, and archives a prepared one.
fn works(mut command: Command, mode: &str) {
    let tree = Tree::new();
    tree.add_ready_change("prepared");
    let server = Server::build(tree.root()).start();
    command.arg(server.url()).arg(mode);
    let seen = printed(command);
    assert_eq!(seen["protocolVersion"], expected(mode), "{mode}: {seen}");
    assert_eq!(seen["firstTool"], "changes.active");
    assert!(tree.path("openspec/changes/from-a-client/proposal.md").exists());
    assert!(tree.archived("prepared").is_some());
}

/// A client that uses all it knows: pages, resources, prompts, completion, progress, log, questions, changes, the session's end.
fn uses_everything(mut command: Command, mode: &str) {
    let tree = Tree::new();
    add_unfinished(&tree);
    let server = Server::build(tree.root()).fixture().start();
    command.arg(server.url()).arg(mode);
    assert_everything_was_done(&printed(command), &tree, mode);
}

/// The same with each of its requests at one of two instances by chance.
fn uses_everything_of_two(mut command: Command, mode: &str, seed: u64) {
    let cluster = Cluster::start(seed);
    add_unfinished(cluster.tree());
    command.arg(cluster.router().url()).arg(mode);
    assert_everything_was_done(&printed(command), cluster.tree(), mode);
    let losses = cluster.router().losses();
    assert!(losses.is_empty(), "nobody was killed: {losses:?}");
    cluster.assert_both_were_asked();
}

/// A change with open tasks: whether it may be archived is a question.
fn add_unfinished(tree: &Tree) {
    tree.add_ready_change("unfinished");
    tree.write("openspec/changes/unfinished/tasks.md", "# Tasks\n\n## 1. Work\n\n- [x] 1.1 Done\n- [ ] 1.2 Open\n");
}

fn assert_everything_was_done(seen: &Value, tree: &Tree, mode: &str) {
    assert_eq!(seen["protocolVersion"], expected(mode), "{mode}: {seen}");
    assert!(tree.archived("unfinished").is_some());
    assert!(tree.path("openspec/changes/from-a-client/proposal.md").exists());
}

#[test]
fn the_python_sdk_uses_everything_over_stdio_in_every_era() {
    for mode in ["legacy", MODERN, "auto"] {
        let tree = Tree::new();
        add_unfinished(&tree);
        let fixture = program(true, tree.root()).get_program().to_string_lossy().into_owned();
        let mut command = python("stdio.py");
        command.arg(format!("{fixture} stdio --root {}", tree.root().display())).arg(mode);
        assert_everything_was_done(&printed(command), &tree, mode);
    }
}

#[test]
fn the_python_sdk_works_in_every_era() {
    for mode in ["legacy", MODERN, "auto"] {
        works(python("client.py"), mode);
    }
}

#[test]
fn the_typescript_sdk_works_in_every_era() {
    for mode in ["legacy", MODERN, "auto"] {
        works(node("client.mjs"), mode);
    }
}

#[test]
fn the_python_sdk_uses_everything_in_the_older_era() {
    uses_everything(python("surface.py"), "legacy");
}

#[test]
fn the_python_sdk_uses_everything_in_the_new_era() {
    uses_everything(python("surface.py"), MODERN);
}

#[test]
fn the_python_sdk_uses_everything_in_the_era_it_finds() {
    uses_everything(python("surface.py"), "auto");
}

#[test]
fn fastmcp_uses_everything_in_the_older_era() {
    uses_everything(python("fast.py"), "legacy");
}

#[test]
fn fastmcp_uses_everything_in_the_new_era() {
    uses_everything(python("fast.py"), MODERN);
}

#[test]
fn fastmcp_uses_everything_in_the_era_it_finds() {
    uses_everything(python("fast.py"), "auto");
}

#[test]
fn the_typescript_sdk_uses_everything_in_the_older_era() {
    uses_everything(node("surface.mjs"), "legacy");
}

#[test]
fn the_typescript_sdk_uses_everything_in_the_new_era() {
    uses_everything(node("surface.mjs"), MODERN);
}

#[test]
fn the_typescript_sdk_uses_everything_in_the_era_it_finds() {
    uses_everything(node("surface.mjs"), "auto");
}

#[test]
fn the_older_typescript_sdk_uses_everything_in_its_era() {
    uses_everything(node("older.mjs"), "legacy");
}

#[test]
fn the_python_sdk_finds_two_instances_to_be_one() {
    for (mode, seed) in [("legacy", 1), (MODERN, 2)] {
        uses_everything_of_two(python("surface.py"), mode, seed);
    }
}

#[test]
fn the_typescript_sdk_finds_two_instances_to_be_one() {
    for (mode, seed) in [("legacy", 3), (MODERN, 4)] {
        uses_everything_of_two(node("surface.mjs"), mode, seed);
    }
}

/// One command of the inspector: its result.
fn inspect(server: &Server, era: &str, arguments: &[&str]) -> Value {
    let package = clients().join("inspector/node_modules/@modelcontextprotocol/inspector");
    let mut command = Command::new(node_of_suite());
    command.arg(installed(package.join("clients/launcher/build/index.js")));
    command.args(["--cli", &server.url(), "--transport", "http", "--protocol-era", era, "--quiet"]);
    // It writes to `~/.mcp-inspector`.
    command.args(arguments).env("HOME", server.folder());
    printed(command)
}

fn inspects(era: &str) {
    let tree = Tree::new();
    tree.add_ready_change("prepared");
    let server = Server::build(tree.root()).fixture().start();
    let names = |list: &Value, field: &str, name: &str| -> Vec<String> {
        let items = list[field].as_array().unwrap_or_else(|| panic!("{era}: {list}"));
        items.iter().map(|item| item[name].as_str().unwrap().to_owned()).collect()
    };
    let tools = inspect(&server, era, &["--method", "tools/list"]);
    assert_eq!(names(&tools, "tools", "name")[0], "changes.active");
    let resources = inspect(&server, era, &["--method", "resources/list"]);
    assert!(names(&resources, "resources", "uri").contains(&"changes://active".to_owned()), "{era}: {resources}");
    let templates = inspect(&server, era, &["--method", "resources/templates/list"]);
    let uris = names(&templates, "resourceTemplates", "uriTemplate");
    assert!(uris.contains(&"test://template/{id}/data".to_owned()), "{era}: {uris:?}");
    let prompts = inspect(&server, era, &["--method", "prompts/list"]);
    assert!(names(&prompts, "prompts", "name").contains(&"test_simple_prompt".to_owned()), "{era}: {prompts}");
    let read = inspect(&server, era, &["--method", "resources/read", "--uri", "test://static-text"]);
    assert_eq!(read["contents"][0]["text"], "This is the content of the static text resource.", "{era}");
    let arguments = ["--prompt-name", "test_prompt_with_arguments", "--prompt-args", "arg1=one", "arg2=two"];
    let prompt = inspect(&server, era, &[&["--method", "prompts/get"], &arguments[..]].concat());
    assert!(prompt["messages"][0]["content"]["text"].as_str().unwrap().contains("arg2='two'"), "{era}: {prompt}");
    let arguments = ["--tool-name", "change.archive", "--tool-arg", "slug=prepared"];
    let archived = inspect(&server, era, &[&["--method", "tools/call"], &arguments[..]].concat());
    assert_eq!(archived["structuredContent"]["archived"], true, "{era}: {archived}");
    assert!(tree.archived("prepared").is_some());
}

#[test]
fn the_inspector_inspects_in_the_older_era() {
    inspects("legacy");
}

#[test]
fn the_inspector_inspects_in_the_new_era() {
    inspects("modern");
}

#[test]
fn the_inspector_inspects_in_the_era_it_finds() {
    inspects("auto");
}

/// A second judge beside the suite, who looks at what the suite does not. The program itself is judged, over its sample tree.
#[test]
fn mcpcheck_has_nothing_to_say() {
    let server = Server::bare().argument("--demo").start();
    let mut command = Command::new(installed(clients().join("python/.venv/bin/mcpcheck")));
    command.arg(server.url()).args(["--strict", "--json", "--legacy-probes"]);
    let report = printed(command);
    let checks = report["checks"].as_array().unwrap_or_else(|| panic!("{report}"));
    assert!(checks.len() >= 8, "{report}");
    for check in checks {
        assert_eq!(check["status"], "pass", "{check:#}");
    }
}
