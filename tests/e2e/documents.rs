//! What the documents say exists.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::support::{Tree, run_alone};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// README and the documents for operators, with the folder their links start from.
fn documents() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let paths: Vec<PathBuf> = docs.chain([root().join("README.md")]).collect();
    assert!(paths.len() > 3, "{paths:?}");
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// What a link to a heading says of it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let leads_to = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(leads_to.exists(), "{}: {link}", path.display());
            if let Some(heading) = heading {
                let text = fs::read_to_string(&leads_to).unwrap();
                let headings = text.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.into_iter().any(|found| found == heading), "{}: {link}", path.display());
            }
        }
    }
}

#[test]
fn every_folder_of_the_code_map_exists_and_every_crate_is_in_it() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let map = readme.split("## Code map").nth(1).unwrap();
    let folders: Vec<&str> = map
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|f| f.ends_with('/'))
        .collect();
    for folder in &folders {
        assert!(root().join(folder).is_dir(), "{folder}");
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    for member in members.split('"').skip(1).step_by(2).filter(|member| *member != ".") {
        let named =
            folders.iter().any(|folder| folder.trim_end_matches('/') == member) || map.contains(&format!("`{member}`"));
        assert!(named, "{member} is not in the code map");
    }
}

#[test]
fn every_setting_that_is_named_exists() {
    let tree = Tree::new();
    let shown = run_alone(tree.root(), &["config", "show"]).stdout;
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in shown.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.push(format!("{section}.{key}"));
        }
    }
    assert!(keys.len() > 40, "{keys:?}");
    let sections: Vec<&str> = keys.iter().map(|key| key.split('.').next().unwrap()).collect();
    for (path, text) in documents() {
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_key = quoted.bytes().all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte))
                && quoted
                    .split_once('.')
                    .is_some_and(|(section, rest)| sections.contains(&section) && rest.contains('_'));
            assert!(!is_key || keys.iter().any(|key| key == quoted), "{}: {quoted}", path.display());
        }
    }
}

/// Level and text of every line that a source file logs: the text is the last string of the macro.
fn logged(source: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for level in ["error", "warn", "info", "debug"] {
        for (at, _) in source.match_indices(&format!("{level}!(")) {
            if source[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
                continue;
            }
            let (mut depth, mut text, mut last) = (1, None::<String>, None);
            let mut characters = source[at + level.len() + 2..].chars().peekable();
            while depth > 0 {
                match (characters.next().unwrap(), &mut text) {
                    ('\\', Some(_)) if characters.peek() == Some(&'\n') => {
                        while characters.next_if(|next| next.is_whitespace()).is_some() {}
                    }
                    ('\\', Some(text)) => text.extend(characters.next()),
                    ('"', Some(_)) => last = text.take(),
                    (character, Some(text)) => text.push(character),
                    ('"', None) => text = Some(String::new()),
                    ('(', None) => depth += 1,
                    (')', None) => depth -= 1,
                    (_, None) => {}
                }
            }
            found.push((level.to_owned(), last.unwrap_or_else(|| panic!("no text: {}", &source[at..at + 60]))));
        }
    }
    found
}

fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap();
        if entry.is_dir() && name != "tests" {
            sources(&entry, all);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            all.push(entry);
        }
    }
}

#[test]
fn every_line_the_supervisor_logs_is_explained_and_no_other() {
    let mut paths = Vec::new();
    sources(&root().join("supervisor/src"), &mut paths);
    let texts = paths.iter().map(|path| fs::read_to_string(path).unwrap());
    let code = texts.map(|text| text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned());
    let logged: BTreeSet<(String, String)> = code.flat_map(|code| logged(&code)).collect();
    assert!(logged.len() > 60, "{logged:#?}");
    let document = fs::read_to_string(root().join("docs/processes.md")).unwrap();
    let section = document.split("## What the supervisor's log lines mean").nth(1).unwrap();
    let rows = section.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix("| "));
    let explained: BTreeSet<(String, String)> = rows
        .filter(|row| !row.starts_with("level"))
        .map(|row| row.split(" | ").collect::<Vec<_>>())
        .map(|row| (row[0].to_owned(), row[1].to_owned()))
        .collect();
    // A text that is logged at two levels has one row.
    let has_row = |text: &str| explained.iter().any(|(_, one)| one == text);
    let missing: Vec<_> = logged.iter().filter(|(_, text)| !has_row(text)).collect();
    assert!(missing.is_empty(), "not in the table of docs/processes.md: {missing:#?}");
    let surplus: Vec<_> = explained.difference(&logged).collect();
    assert!(surplus.is_empty(), "in the table, and never logged like this: {surplus:#?}");
}
