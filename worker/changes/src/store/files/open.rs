//! `change.open`.

use std::fs;
use std::path::Path;

use super::templates::{self, Draft};
use super::{Core, Place};
use crate::error::ChangesError;
use crate::metadata::SCHEMA;
use crate::store::types::API_VERSION;
use crate::store::{DocumentPaths, OpenRequest, OpenedChange, Slug, ToolVersions};
use crate::tree::{METADATA, PROPOSAL, TASKS, plain_files};

const TTL_S: u64 = 3600;
const TTL_MIN_S: u64 = 60;
const TTL_MAX_S: u64 = 86_400;

/// Longest title and owner label in characters.
const LABEL_MAX: usize = 200;

impl Core {
    pub(super) fn open(&self, request: &OpenRequest) -> Result<OpenedChange, ChangesError> {
        let ttl = self.check(request)?;
        let slug = &request.slug;
        // Refusals that need no writing are given before anything is locked or written.
        self.openable(slug)?;
        self.check_lock(slug, &request.principal)?;
        let _guard = self.begin_write()?;
        let there = self.openable(slug)?;
        let lock = self.take_lock(slug, &request.principal, ttl)?;
        if !there && let Err(error) = self.create(request) {
            self.drop_lock(slug);
            return Err(error);
        }
        let root = self.tree.relative(&self.tree.change(slug.as_str()));
        Ok(OpenedChange {
            api_version: API_VERSION,
            slug: slug.clone(),
            status: "draft",
            created: !there,
            locked: true,
            lock_expires_at: lock.view().expires_at,
            paths: DocumentPaths {
                proposal: format!("{root}/{PROPOSAL}"),
                tasks: format!("{root}/{TASKS}"),
                delta: format!("{root}/specs/{slug}/spec.md"),
                root: Some(root),
            },
            resource_uris: DocumentPaths {
                root: None,
                proposal: format!("change://{slug}/proposal"),
                tasks: format!("change://{slug}/tasks"),
                delta: format!("change://{slug}/delta/{slug}"),
            },
            missing: self.missing(slug)?,
            tool_versions: ToolVersions::of("change.open"),
        })
    }

    fn check(&self, request: &OpenRequest) -> Result<u64, ChangesError> {
        let bad = |field, limit: String| Err(ChangesError::BadInput { field, limit });
        let is_label = |text: &str| !text.trim().is_empty() && !text.chars().any(char::is_control);
        if !is_label(&request.title) || request.title.chars().count() > LABEL_MAX {
            return bad("title", format!("it must be 1 to {LABEL_MAX} characters on one line"));
        }
        if let Some(owner) = &request.owner
            && (!is_label(owner) || owner.chars().count() > LABEL_MAX)
        {
            return bad("owner", format!("it must be 1 to {LABEL_MAX} characters on one line"));
        }
        let room = self.options.document_bytes / 2;
        if request.rationale.as_ref().is_some_and(|text| text.len() as u64 > room) {
            return bad("rationale", format!("it must be at most {room} bytes (half of store.document_bytes)"));
        }
        match request.ttl.unwrap_or(TTL_S) {
            ttl @ TTL_MIN_S..=TTL_MAX_S => Ok(ttl),
            _ => bad("ttl", format!("it must be {TTL_MIN_S} to {TTL_MAX_S} seconds")),
        }
    }

    /// Whether the change is there already; an archived one is refused.
    fn openable(&self, slug: &Slug) -> Result<bool, ChangesError> {
        match self.place(slug)? {
            Place::Active => Ok(true),
            Place::Nowhere => Ok(false),
            Place::Archived(archived_as) => Err(ChangesError::Archived { slug: slug.to_string(), archived_as }),
        }
    }

    /// Builds the folder where nobody looks and renames it into place, so that no reader sees half of it.
    fn create(&self, request: &OpenRequest) -> Result<(), ChangesError> {
        let step = ChangesError::io("creating the change");
        let private = self.private_dir("tmp")?;
        let work = tempfile::Builder::new().prefix(request.slug.as_str()).tempdir_in(private).map_err(&step)?;
        let day = self.clock.today();
        let draft = Draft {
            title: request.title.trim(),
            slug: request.slug.as_str(),
            owner: request.owner.as_deref().unwrap_or(&request.principal),
            rationale: request.rationale.as_deref().filter(|text| !text.trim().is_empty()),
            template: request.template,
            day,
        };
        let dir = work.path().join(request.slug.as_str());
        let write = |path: &str, text: &str| {
            let path = dir.join(path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, text)
        };
        write(METADATA, &format!("schema: {SCHEMA}\ncreated: {day}\n")).map_err(&step)?;
        write(PROPOSAL, &templates::proposal(&draft)).map_err(&step)?;
        write(TASKS, &templates::tasks(&draft)).map_err(&step)?;
        let spec = templates::delta(draft.title);
        write(&format!("specs/{}/spec.md", request.slug), &spec).map_err(&step)?;
        self.contained()?;
        fs::create_dir_all(self.tree.changes()).map_err(&step)?;
        fs::rename(&dir, self.tree.change(request.slug.as_str())).map_err(step)
    }

    /// What is still to be filled in: documents that are not there, and marks of the templates.
    fn missing(&self, slug: &Slug) -> Result<Vec<String>, ChangesError> {
        let step = "reading the change";
        let dir = self.tree.change(slug.as_str());
        let mut missing = Vec::new();
        let mut look = |path: &Path, name: &str| -> Result<(), ChangesError> {
            let text = self.tree.reader().read_if_there(path).map_err(self.file_error(step))?;
            match text {
                Some(text) => {
                    missing.extend(templates::marks(&text).map(|(line, what)| format!("{name} line {line}: {what}")))
                }
                None => missing.push(format!("{name}: the file is missing")),
            }
            Ok(())
        };
        plain_files(&dir).map_err(self.file_error(step))?;
        look(&dir.join(PROPOSAL), PROPOSAL)?;
        look(&dir.join(TASKS), TASKS)?;
        let specs = self.tree.spec_files(&dir.join("specs")).map_err(ChangesError::io(step))?;
        for (capability, path) in &specs {
            look(path, &format!("specs/{capability}/spec.md"))?;
        }
        if specs.is_empty() {
            missing.push("specs/<capability>/spec.md: the change has no delta spec".to_owned());
        }
        Ok(missing)
    }
}
