//! `change.show`.

use std::fs;

use super::proposal::Proposal;
use super::{Core, Place};
use crate::delta::Delta;
use crate::error::ChangesError;
use crate::store::types::API_VERSION;
use crate::store::{
    Capability, ChangeDetails, DeltaEntry, DocumentHandle, DocumentName, Part, RenameView, Slug, ToolVersions,
};
use crate::tasks::{TaskCounts, tasks};
use crate::text::iso_ms;
use crate::tree::{PROPOSAL, TASKS, mtime_ms, plain_files};

impl Core {
    pub(super) fn show(&self, slug: &Slug) -> Result<ChangeDetails, ChangesError> {
        match self.place(slug)? {
            Place::Active => {}
            Place::Archived(archived_as) => {
                return Err(ChangesError::Archived { slug: slug.to_string(), archived_as });
            }
            Place::Nowhere => return Err(self.absent(slug)),
        }
        let step = "reading the change";
        let dir = self.tree.change(slug.as_str());
        plain_files(&dir).map_err(self.file_error(step))?;
        let read = |name: &str| self.tree.reader().read_if_there(&dir.join(name)).map_err(self.file_error(step));
        let proposal = Proposal::read(&read(PROPOSAL)?.unwrap_or_default());
        let tasks = tasks(&read(TASKS)?.unwrap_or_default());
        let completed = tasks.iter().filter(|task| task.done).count();
        let mut documents = Vec::new();
        let of_change = |part| DocumentName::Change(slug.clone(), part);
        for part in [Part::Proposal, Part::Tasks, Part::Design] {
            documents.extend(self.handle(&of_change(part)));
        }
        let mut deltas = Vec::new();
        for (capability, path) in self.tree.spec_files(&dir.join("specs")).map_err(ChangesError::io(step))? {
            let name = Capability::parse(&capability).map(Part::Delta).map(of_change);
            documents.extend(name.and_then(|name| self.handle(&name)));
            let text = self.tree.reader().read(&path).map_err(self.file_error(step))?;
            deltas.extend(entries(&capability, Delta::parse(&text)));
        }
        Ok(ChangeDetails {
            api_version: API_VERSION,
            slug: slug.clone(),
            title: proposal.title.unwrap_or_else(|| slug.to_string()),
            status: "draft",
            documents,
            deltas,
            task_counts: TaskCounts { completed, total: tasks.len() },
            tasks,
            lock: self.live_lock(slug).map(|lock| lock.view()),
            tool_versions: ToolVersions::of("change.show"),
        })
    }

    fn handle(&self, name: &DocumentName) -> Option<DocumentHandle> {
        let path = self.tree.openspec().join(name.path());
        let meta = fs::metadata(&path).ok()?;
        Some(DocumentHandle {
            resource_uri: name.uri(),
            path: self.tree.relative(&path),
            size_bytes: meta.len(),
            updated_at: iso_ms(mtime_ms(&meta)),
        })
    }
}

fn entries(capability: &str, delta: Delta) -> Vec<DeltaEntry> {
    let entry = |operation, requirement: String, rename| DeltaEntry {
        capability: capability.to_owned(),
        operation,
        requirement,
        rename,
    };
    let mut entries = Vec::new();
    entries.extend(delta.added.into_iter().map(|block| entry("ADDED", block.name, None)));
    entries.extend(delta.modified.into_iter().map(|block| entry("MODIFIED", block.name, None)));
    entries.extend(delta.removed.into_iter().map(|name| entry("REMOVED", name, None)));
    entries.extend(delta.renamed.into_iter().map(|pair| {
        let view = RenameView { from: pair.from, to: pair.to.clone() };
        entry("RENAMED", pair.to, Some(view))
    }));
    entries
}
