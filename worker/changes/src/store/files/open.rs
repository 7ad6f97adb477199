//! `change.open`.

use std::fs;
use std::io;
use std::path::Path;

use super::lock::TTL_MAX_S;
use super::templates::{self, Draft};
use super::{Core, Place};
use crate::error::ChangesError;
use crate::metadata::SCHEMA;
use crate::store::types::API_VERSION;
use crate::store::{DocumentPaths, OpenRequest, OpenedChange, Slug, ToolVersions};
use crate::tree::{METADATA, PROPOSAL, TASKS, TEMP_PREFIX, TEMP_SUFFIX, plain_files};

const TTL_S: u64 = 3600;
const TTL_MIN_S: u64 = 60;

/// Longest title and owner label in characters.
const LABEL_MAX: usize = 200;

impl Core {
    pub(super) fn open(&self, request: &OpenRequest) -> Result<OpenedChange, ChangesError> {
        let ttl = self.check(request)?;
        let slug = &request.slug;
        // Refusals that need no writing are given before anything is locked or written.
        self.free_to_open(request)?;
        let _guard = self.begin_write()?;
        let there = self.free_to_open(request)?;
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

    /// Whether the change is there already; an archived one, or one that somebody else has locked, is refused. The lock of
    /// a change that is not there was left by a killed call or by hand, and holds nobody up.
    fn free_to_open(&self, request: &OpenRequest) -> Result<bool, ChangesError> {
        let slug = &request.slug;
        match self.place(slug)? {
            Place::Active => self.check_lock(slug, &request.principal).map(|()| true),
            Place::Nowhere => Ok(false),
            Place::Archived(archived_as) => Err(ChangesError::Archived { slug: slug.to_string(), archived_as }),
        }
    }

    /// Builds the folder where nobody looks and renames it into place, so that no reader sees half of it.
    fn create(&self, request: &OpenRequest) -> Result<(), ChangesError> {
        let step = ChangesError::io("creating the change");
        self.contained()?;
        fs::create_dir_all(self.tree.changes()).map_err(&step)?;
        let private = self.private_dir("tmp")?;
        match self.build(request, &private) {
            // `changes/` is a mount of its own. Lists pass over a dot folder, and the next writer sweeps what is left of it.
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => self.build(request, &self.tree.changes()),
            done => done,
        }
        .map_err(step)
    }

    fn build(&self, request: &OpenRequest, parent: &Path) -> io::Result<()> {
        let work = tempfile::Builder::new().prefix(TEMP_PREFIX).suffix(TEMP_SUFFIX).tempdir_in(parent)?;
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
        write(METADATA, &format!("schema: {SCHEMA}\ncreated: {day}\n"))?;
        write(PROPOSAL, &templates::proposal(&draft))?;
        write(TASKS, &templates::tasks(&draft))?;
        let spec = templates::delta(draft.title);
        write(&format!("specs/{}/spec.md", request.slug), &spec)?;
        fs::rename(&dir, self.tree.change(request.slug.as_str()))
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
