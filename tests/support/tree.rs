//! An `openspec/` tree and its fingerprint.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A repository with an `openspec/` tree in a folder of its own, removed at the end of the test.
pub struct Tree {
    root: TempDir,
}

impl Tree {
    /// A tree with one living spec, `accounts`, and no change.
    pub fn new() -> Self {
        let tree = Self { root: tempfile::tempdir().expect("a temporary folder") };
        tree.write("openspec/changes/archive/.gitkeep", "");
        tree.write("openspec/specs/accounts/spec.md", ACCOUNTS);
        tree
    }

    /// The folder that holds `openspec/`.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A path in the tree.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root().join(relative)
    }

    /// Writes a file and the folders above it.
    pub fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folders are writable");
        fs::write(path, text).expect("files are writable");
    }

    /// The text of a file.
    pub fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
    }

    /// A change that can be archived: its tasks are done, and it adds a requirement to `accounts`.
    pub fn add_ready_change(&self, slug: &str) {
        let proposal = format!("# Change: Lock {slug}\n\n{PROPOSAL}");
        self.write(&format!("openspec/changes/{slug}/proposal.md"), &proposal);
        self.make_ready(slug);
    }

    /// Gives a change a delta for `accounts` and finishes its tasks.
    pub fn make_ready(&self, slug: &str) {
        let delta = DELTA.replace("NAME", slug);
        self.write(&format!("openspec/changes/{slug}/specs/accounts/spec.md"), &delta);
        self.write(&format!("openspec/changes/{slug}/tasks.md"), "# Tasks\n\n## 1. Work\n\n- [x] 1.1 Done\n");
    }

    /// The folder of an archived change, relative to the root.
    pub fn archived(&self, slug: &str) -> Option<String> {
        let entries = fs::read_dir(self.path("openspec/changes/archive")).ok()?.flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.into_iter().find(|name| name.ends_with(&format!("-{slug}"))).map(|name| {
            let folder = format!("openspec/changes/archive/{name}");
            assert_eq!(name.len(), slug.len() + "2026-01-01-".len(), "{folder} starts with a date");
            folder
        })
    }

    /// Every file with its bytes and every link with its target.
    pub fn fingerprint(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut seen = BTreeMap::new();
        collect(self.root(), &mut seen);
        seen
    }
}

fn collect(folder: &Path, seen: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("folders are readable").flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("entries have a type");
        if kind.is_symlink() {
            let target = fs::read_link(&path).expect("links are readable");
            seen.insert(path, target.into_os_string().into_encoded_bytes());
        } else if kind.is_dir() {
            collect(&path, seen);
        } else {
            let bytes = fs::read(&path).expect("files are readable");
            seen.insert(path, bytes);
        }
    }
}

const ACCOUNTS: &str = "# accounts Specification

## Purpose
Accounts let people sign in, and keep what they own apart from what others own.

## Requirements
### Requirement: Sign in
The system SHALL let a person sign in with a name and a password.

#### Scenario: Right password
- **WHEN** the password is right
- **THEN** a session starts
";

const PROPOSAL: &str = "## Why
Accounts are attacked by guessing; the system should make guessing expensive for the attacker only.

## What Changes
- Lock an account for a while after repeated failures.
";

const DELTA: &str = "## ADDED Requirements

### Requirement: Lock after failures of NAME
The system SHALL lock an account for 15 minutes after 5 failures.

#### Scenario: Fifth failure
- **WHEN** a fifth sign-in fails
- **THEN** the account is locked
";
