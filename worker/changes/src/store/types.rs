//! What goes into a store and what comes out, as it is on the wire: camelCase JSON, times in RFC 3339 UTC with
//! milliseconds, paths relative to the root.

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::Slug;
use crate::tasks::{Task, TaskCounts};

/// The version of every result's shape.
pub(super) const API_VERSION: &str = "1.0.0";

/// Arguments of `changes.active`. All optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ActiveQuery {
    /// Page from 1; ignored with a token.
    pub page: Option<u64>,
    /// 1 to 200; 50 if absent.
    pub page_size: Option<u64>,
    /// `nextPageToken` of the page before.
    #[serde(alias = "nextPageToken")]
    pub page_token: Option<String>,
    /// Only changes with this owner label.
    pub owner: Option<String>,
    /// Only changes made from this template.
    pub template: Option<String>,
}

/// A page of active changes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivePage {
    /// Version of this shape.
    pub api_version: &'static str,
    /// The changes, newest first, ties by slug.
    pub items: Vec<Arc<Item>>,
    /// Page from 1.
    pub page: usize,
    /// How many items a page holds.
    pub page_size: usize,
    /// How many changes match in all.
    pub total: usize,
    /// Present if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
    /// Who answered.
    pub tool_versions: ToolVersions,
}

/// One active change in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The folder's name. Names that are no slug are listed too; the tools cannot address them.
    pub slug: String,
    /// The proposal's heading, else the slug.
    pub title: String,
    /// Always `draft`: what is archived is in no active list.
    pub status: &'static str,
    /// Where it lies.
    pub paths: ItemPaths,
    /// The newest change of any of its files.
    pub updated_at: String,
    /// The day in `.openspec.yaml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// The proposal's `Type:` line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The proposal's `Owner:` line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How far it is.
    pub tasks: TaskCounts,
}

/// Where a change lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ItemPaths {
    /// The folder.
    pub root: String,
}

/// One active change.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeDetails {
    /// Version of this shape.
    pub api_version: &'static str,
    /// Its slug.
    pub slug: Slug,
    /// The proposal's heading, else the slug.
    pub title: String,
    /// Always `draft`.
    pub status: &'static str,
    /// Handles of the documents that exist.
    pub documents: Vec<DocumentHandle>,
    /// What the delta specs say, by capability.
    pub deltas: Vec<DeltaEntry>,
    /// The tasks.
    pub tasks: Vec<Task>,
    /// How far it is.
    pub task_counts: TaskCounts,
    /// The lock, if one is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockView>,
    /// Who answered.
    pub tool_versions: ToolVersions,
}

/// A document by handle instead of by bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentHandle {
    /// `change://{slug}/…`.
    pub resource_uri: String,
    /// Relative to the root.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// When it was last written.
    pub updated_at: String,
}

/// One operation of a delta spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeltaEntry {
    /// Capability id.
    pub capability: String,
    /// ADDED, MODIFIED, REMOVED or RENAMED.
    pub operation: &'static str,
    /// The requirement; of a rename, the new name.
    pub requirement: String,
    /// Both names of a rename.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rename: Option<RenameView>,
}

/// Both names of a rename.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenameView {
    /// The present name.
    pub from: String,
    /// The name it gets.
    pub to: String,
}

/// A held lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LockView {
    /// The principal that holds it.
    pub owner: String,
    /// Since when.
    pub since: String,
    /// Its life in seconds.
    pub ttl: u64,
    /// When it ends.
    pub expires_at: String,
}

/// What a change starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Template {
    /// Something new.
    #[default]
    Feature,
    /// Something broken.
    Bugfix,
    /// Something to keep up.
    Chore,
}

/// A call of `change.open`.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    /// Its name.
    pub slug: Slug,
    /// 1 to 200 characters on one line.
    pub title: String,
    /// Why, for a new proposal.
    pub rationale: Option<String>,
    /// A label for a new proposal, up to 200 characters; the lock belongs to `principal`.
    pub owner: Option<String>,
    /// Life of the lock in seconds, 60 to 86,400; 3,600 if absent.
    pub ttl: Option<u64>,
    /// What a new change starts from.
    pub template: Template,
    /// Who calls.
    pub principal: String,
}

/// The answer of `change.open`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenedChange {
    /// Version of this shape.
    pub api_version: &'static str,
    /// Its slug.
    pub slug: Slug,
    /// Always `draft`.
    pub status: &'static str,
    /// False when it was there already; then the template was not applied.
    pub created: bool,
    /// Always true: the caller holds the lock now.
    pub locked: bool,
    /// When the lock ends.
    pub lock_expires_at: String,
    /// Where things lie.
    pub paths: DocumentPaths,
    /// Handles of the same.
    pub resource_uris: DocumentPaths,
    /// What the author still has to fill in.
    pub missing: Vec<String>,
    /// Who answered.
    pub tool_versions: ToolVersions,
}

/// The documents of a change, as paths or as URIs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DocumentPaths {
    /// The folder; only among paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The proposal.
    pub proposal: String,
    /// The task list.
    pub tasks: String,
    /// The first delta spec.
    pub delta: String,
}

/// A call of `change.archive`.
#[derive(Clone, Debug)]
pub struct ArchiveRequest {
    /// Its name.
    pub slug: Slug,
    /// What open tasks mean for it.
    pub open_tasks: OpenTasks,
    /// Who calls.
    pub principal: String,
}

/// What open tasks mean for an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenTasks {
    /// It is refused.
    Refuse,
    /// They stay as they are.
    Allow,
    /// The same, if the list of tasks is the one with this tag, which an earlier refusal told
    /// ([`ChangesError::OpenTasks`](crate::ChangesError::OpenTasks)): somebody has seen it and agreed.
    AllowSeen(String),
}

/// The answer of `change.archive`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchivedChange {
    /// Version of this shape.
    pub api_version: &'static str,
    /// Its slug.
    pub slug: Slug,
    /// Always true.
    pub archived: bool,
    /// True when an earlier call, or the CLI, did it.
    pub already_archived: bool,
    /// The folder below `openspec/changes/archive/`.
    pub archived_as: String,
    /// What was done. Made up from the folder when the CLI archived the change, which writes none.
    pub receipt: Receipt,
    /// Operations on the living specs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
    /// What the author should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Who answered.
    pub tool_versions: ToolVersions,
}

/// How many requirements changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Appended.
    pub added: usize,
    /// Replaced.
    pub modified: usize,
    /// Taken out.
    pub removed: usize,
    /// Renamed.
    pub renamed: usize,
}

/// `receipt.json`, as the fork's schema has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The change.
    pub slug: String,
    /// Commits of the change; empty, since the store does not run git.
    pub commits: Vec<String>,
    /// Files written or moved, relative to the root, sorted.
    pub files_touched: Vec<String>,
    /// What is known of tests: nothing, unless another tool writes it.
    pub tests: ReceiptTests,
    /// When it was archived.
    pub archived_at: String,
    /// Who did it.
    pub tool_versions: std::collections::BTreeMap<String, String>,
}

/// The receipt's word on tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptTests {
    /// Tests that came with the change.
    pub added: u64,
    /// Tests it altered.
    pub updated: u64,
    /// Whether they are known to have passed.
    pub passed: bool,
}

/// Versions of the server and of the tool that answered, as a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolVersions {
    tool: &'static str,
}

/// Version of the behaviour of every tool here.
const TOOL_VERSION: &str = "1.0.0";

impl ToolVersions {
    pub(super) const fn of(tool: &'static str) -> Self {
        Self { tool }
    }

    /// Name and version, the server first.
    pub fn entries(self) -> [(&'static str, &'static str); 2] {
        [("taskMcp", env!("CARGO_PKG_VERSION")), (self.tool, TOOL_VERSION)]
    }
}

impl Serialize for ToolVersions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        for (name, version) in self.entries() {
            map.serialize_entry(name, version)?;
        }
        map.end()
    }
}

impl Template {
    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Feature => "feature",
            Self::Bugfix => "bugfix",
            Self::Chore => "chore",
        }
    }
}
