//! `change.archive`.

use std::collections::BTreeMap;
use std::fs;

use super::journal::{Intent, RECEIPT};
use super::templates::{is_untouched, marks};
use super::{Core, Place};
use crate::archive::{Commit, SpecUpdate, check_deltas, destination, locate, merge_all, vet};
use crate::error::ChangesError;
use crate::merge::Counts;
use crate::store::types::API_VERSION;
use crate::store::{ArchiveRequest, ArchivedChange, OpenTasks, Receipt, ReceiptTests, Slug, ToolVersions, Totals};
use crate::tasks::{Task, tasks};
use crate::text::iso_ms;
use crate::tree::{TASKS, mtime_ms, plain_files};
use crate::validate::ChangeFiles;

const VERSIONS: ToolVersions = ToolVersions::of("change.archive");

impl Core {
    pub(super) fn archive(&self, request: &ArchiveRequest) -> Result<ArchivedChange, ChangesError> {
        // Refusals that need no writing are given before anything is locked or written.
        if let Some(answer) = self.already(&request.slug)? {
            return Ok(answer);
        }
        // What an interrupted archive left is no ground to refuse on: the guard settles it first.
        if !self.has_journal() {
            self.ready(request)?;
        }
        let _guard = self.begin_write()?;
        if let Some(answer) = self.already(&request.slug)? {
            return Ok(answer);
        }
        let ready = self.ready(request)?;
        self.carry_out(request, ready)
    }

    /// The answer for a change that is archived; an error for one that is nowhere.
    fn already(&self, slug: &Slug) -> Result<Option<ArchivedChange>, ChangesError> {
        let archived_as = match self.place(slug)? {
            Place::Active => return Ok(None),
            Place::Nowhere => return Err(self.absent(slug)),
            Place::Archived(archived_as) => archived_as,
        };
        let receipt = self.stored_receipt(slug, &archived_as)?;
        Ok(Some(ArchivedChange {
            api_version: API_VERSION,
            slug: slug.clone(),
            archived: true,
            already_archived: true,
            archived_as,
            receipt,
            totals: None,
            warnings: Vec::new(),
            tool_versions: VERSIONS,
        }))
    }

    /// All checks and the merge, without writing.
    fn ready(&self, request: &ArchiveRequest) -> Result<Ready, ChangesError> {
        let (slug, name) = (&request.slug, request.slug.as_str());
        let refused = self.failure(slug);
        let step = self.file_error("reading the change");
        let touched = plain_files(&self.tree.change(name)).map_err(&step)?;
        self.check_lock(slug, &request.principal)?;
        locate(&self.tree, name).map_err(&refused)?;
        let mut files = self.tree.change_files(name).map_err(&step)?;
        check_deltas(&files).map_err(&refused)?;
        let open_tasks = self.open_tasks(request)?;
        let mut warnings = set_skeletons_aside(&mut files)?;
        let mut updates = merge_all(&self.tree, &files).map_err(&refused)?;
        vet(&mut updates, &files.metadata).map_err(&refused)?;
        for update in &updates {
            warnings.extend(update.merged.warnings.iter().cloned());
            if update.retire {
                let (capability, path) = (&update.capability, &update.relative);
                warnings.push(format!(
                    "{capability} - capability retired; deleted {path} (declared by retire_capabilities)."
                ));
            }
        }
        // Last, so that nobody is asked about what cannot be done anyway.
        if let Some(refusal) = open_tasks {
            return Err(refusal);
        }
        let touched = touched.into_iter().map(|path| path.to_string_lossy().into_owned()).collect();
        Ok(Ready { updates, warnings, touched })
    }

    /// Why the change's tasks are in the way, if they are.
    fn open_tasks(&self, request: &ArchiveRequest) -> Result<Option<ChangesError>, ChangesError> {
        /// Enough to know what is left.
        const FIRST_MAX: usize = 5;
        const CHARS_MAX: usize = 80;
        if request.open_tasks == OpenTasks::Allow {
            return Ok(None);
        }
        let path = self.tree.change(request.slug.as_str()).join(TASKS);
        let text = self.tree.reader().read_if_there(&path).map_err(self.file_error("reading the change"))?;
        let text = text.unwrap_or_default();
        let all = tasks(&text);
        let open: Vec<&Task> = all.iter().filter(|task| !task.done).collect();
        let tag = blake3::hash(text.as_bytes()).to_hex().to_string();
        if open.is_empty() || request.open_tasks == OpenTasks::AllowSeen(tag.clone()) {
            return Ok(None);
        }
        let first = open.iter().take(FIRST_MAX).map(|task| task.text.chars().take(CHARS_MAX).collect()).collect();
        let slug = request.slug.to_string();
        Ok(Some(ChangesError::OpenTasks { slug, open: open.len(), total: all.len(), first, tag }))
    }

    fn carry_out(&self, request: &ArchiveRequest, ready: Ready) -> Result<ArchivedChange, ChangesError> {
        let (slug, name) = (&request.slug, request.slug.as_str());
        let refused = self.failure(slug);
        let archived_as = destination(&self.tree, name, self.clock.today()).map_err(&refused)?;
        self.reclaim_archive_lock()?;
        let receipt = self.receipt(slug, &archived_as, &ready);
        let text = serde_json::to_vec_pretty(&receipt)
            .map_err(|error| ChangesError::io("writing the receipt")(error.into()))?;
        let path = self.tree.change(name).join(RECEIPT);
        let nonce = uuid::Uuid::now_v7().to_string();
        let (nonce, updates) = (nonce.as_str(), ready.updates.as_slice());
        self.write_journal(&Intent { slug, archived_as: &archived_as, updates, receipt: (&path, &text), nonce })?;
        let receipt_file = Some((path.as_path(), text.as_slice()));
        let commit = Commit { tree: &self.tree, name, archived: &archived_as, updates, receipt: receipt_file, nonce };
        let done = commit.run();
        // What could not be put back now the next writer puts back from the journal.
        if !done.as_ref().is_err_and(|failure| failure.more.torn) {
            self.remove_journal();
        }
        done.map_err(&refused)?;
        self.drop_lock(slug);
        let Ready { updates, warnings, .. } = ready;
        let Counts { added, modified, removed, renamed } =
            updates.iter().fold(Counts::default(), |sum, update| sum.plus(update.merged.counts));
        Ok(ArchivedChange {
            api_version: API_VERSION,
            slug: slug.clone(),
            archived: true,
            already_archived: false,
            archived_as,
            receipt,
            totals: (!updates.is_empty()).then_some(Totals { added, modified, removed, renamed }),
            warnings,
            tool_versions: VERSIONS,
        })
    }

    fn receipt(&self, slug: &Slug, archived_as: &str, ready: &Ready) -> Receipt {
        let folder = self.tree.relative(&self.tree.archive().join(archived_as));
        let specs = ready.updates.iter().filter(|update| update.changes_file()).map(|update| update.relative.clone());
        let moved = ready.touched.iter().map(|path| format!("{folder}/{path}"));
        let mut files: Vec<String> = moved.chain(specs).chain([format!("{folder}/{RECEIPT}")]).collect();
        files.sort();
        files.dedup();
        Receipt {
            slug: slug.to_string(),
            commits: Vec::new(),
            files_touched: files,
            tests: ReceiptTests::default(),
            archived_at: iso_ms(self.clock.now().as_millisecond()),
            tool_versions: versions(),
        }
    }

    /// The receipt in an archive folder, if one can be read.
    pub(super) fn read_receipt(&self, archived_as: &str) -> Option<Receipt> {
        let path = self.tree.archive().join(archived_as).join(RECEIPT);
        serde_json::from_str(&self.tree.reader().read(&path).ok()?).ok()
    }

    /// The receipt in the archive; without one, or with one that cannot be read, what the folder tells.
    fn stored_receipt(&self, slug: &Slug, archived_as: &str) -> Result<Receipt, ChangesError> {
        if let Some(receipt) = self.read_receipt(archived_as) {
            return Ok(receipt);
        }
        let dir = self.tree.archive().join(archived_as);
        let step = "reading the archive";
        let files = plain_files(&dir).map_err(self.file_error(step))?;
        let folder = self.tree.relative(&dir);
        let meta = fs::metadata(&dir).map_err(ChangesError::io(step))?;
        Ok(Receipt {
            slug: slug.to_string(),
            commits: Vec::new(),
            files_touched: files.iter().map(|path| format!("{folder}/{}", path.to_string_lossy())).collect(),
            tests: ReceiptTests::default(),
            archived_at: iso_ms(mtime_ms(&meta)),
            tool_versions: versions(),
        })
    }
}

/// An archive that passed every check.
struct Ready {
    updates: Vec<SpecUpdate>,
    warnings: Vec<String>,
    /// The files of the change, relative to its folder.
    touched: Vec<String>,
}

/// A skeleton nobody touched says nothing about the system, so it is not merged; one begun and not finished is refused.
fn set_skeletons_aside(files: &mut ChangeFiles) -> Result<Vec<String>, ChangesError> {
    let mut warnings = Vec::new();
    files.deltas.retain(|file| {
        let untouched = is_untouched(&file.text);
        if untouched {
            let capability = &file.capability;
            warnings.push(format!(
                "{capability} - specs/{capability}/spec.md is the untouched template; it was not merged."
            ));
        }
        !untouched
    });
    for file in &files.deltas {
        if let Some((line, what)) = marks(&file.text).next() {
            return Err(ChangesError::Refused {
                cli_code: "placeholder_left",
                message: format!("specs/{}/spec.md line {line} still says [TBD: {what}]", file.capability),
                fix: Some("Write what is to be there, or delete the delta spec.".to_owned()),
                issues: Vec::new(),
            });
        }
    }
    Ok(warnings)
}

fn versions() -> BTreeMap<String, String> {
    VERSIONS.entries().into_iter().map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}
