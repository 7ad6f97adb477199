//! The inputs that are kept.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The inputs of a target, by the names of their files, in the order of these.
///
/// # Errors
/// The folder or a file in it cannot be read.
pub fn inputs(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder(target))? {
        let entry = entry?;
        inputs.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    inputs.sort();
    Ok(inputs)
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target)
}

/// Keeps an input that panics; where it lies.
pub(crate) fn keep(target: &str, input: &[u8], seed: u64, run: u64) -> io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{target}-{seed:016x}-{run}"));
    fs::write(&path, input)?;
    path.canonicalize()
}
