//! Reading what archiving and validating a change need.

use super::{FileError, METADATA, TASKS, Tree};
use crate::archive::node_words;
use crate::metadata::Metadata;
use crate::tasks::{TaskCounts, count};
use crate::validate::{ChangeFiles, DeltaFile};

impl Tree {
    /// Reads a change's delta specs, the main specs they touch, and its metadata.
    pub(crate) fn change_files(&self, name: &str) -> Result<ChangeFiles, FileError> {
        let dir = self.change(name);
        let specs = dir.join("specs");
        let mut deltas = Vec::new();
        for (capability, path) in self.spec_files(&specs)? {
            let target = self.specs().join(&capability).join("spec.md");
            let (present, target_error) = match self.reader().read_if_there(&target) {
                Ok(text) => (text, None),
                // The CLI reads main specs only when it merges. It lists this one as one to update.
                Err(FileError::Io(error)) if !self.reader().is_strict() => {
                    (Some(String::new()), Some(node_words(&error)))
                }
                Err(error) => return Err(error),
            };
            deltas.push(DeltaFile {
                text: self.reader().read(&path)?,
                target: present,
                target_error,
                target_path: if self.reader().is_strict() {
                    self.relative(&target)
                } else {
                    target.to_string_lossy().into_owned()
                },
                capability,
            });
        }
        let mut others = Vec::new();
        for (path, full) in self.other_markdown(&specs)? {
            others.push((path, self.reader().read(&full)?));
        }
        let metadata = self.reader().read_if_there(&dir.join(METADATA))?;
        Ok(ChangeFiles {
            name: name.to_owned(),
            deltas,
            root_spec: specs.join("spec.md").is_file(),
            has_spec_files: self.has_files(&specs)?,
            others,
            metadata: Metadata::parse(metadata.as_deref()),
        })
    }

    /// How far a change is; a missing file is no tasks.
    pub(crate) fn task_counts(&self, name: &str) -> Result<TaskCounts, FileError> {
        let text = self.reader().read_if_there(&self.change(name).join(TASKS))?;
        Ok(text.map(|text| count(&text)).unwrap_or_default())
    }
}
