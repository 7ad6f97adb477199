//! Room on the disk for what LMDB touches only through a map. It makes the file of its locks as long as it needs to be without
//! asking for room, and on a disk without room the first touch is a signal (SIGBUS), not an error.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use super::environment::MAX_READERS;

/// What LMDB keeps for each reader, a cache line; and before the first of them, less than a page.
const READER_BYTES: u64 = 64;
/// The two pages with which a data file begins.
const HEAD_PAGES: u64 = 2;

/// Takes room for a data file's first pages and for all of its lock file; makes either if there is none. What is there stays as
/// it is. Before LMDB opens them in this process: closing a file ends all locks a process has on it (fcntl(2)).
///
/// # Errors
/// There is no room, or a file cannot be opened.
pub(super) fn take(data: &Path, locks: &Path) -> io::Result<()> {
    let page_bytes = rustix::param::page_size() as u64;
    // Not part of the file yet: LMDB takes an empty one for new.
    allocate(&open(data)?, FallocateFlags::KEEP_SIZE, HEAD_PAGES * page_bytes)?;
    allocate(&open(locks)?, FallocateFlags::empty(), page_bytes + u64::from(MAX_READERS) * READER_BYTES)
}

fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits();
    let flags = i32::from_ne_bytes(flags.to_ne_bytes());
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path)
}

fn allocate(file: &File, flags: FallocateFlags, bytes: u64) -> io::Result<()> {
    loop {
        match rustix::fs::fallocate(file, flags, 0, bytes) {
            Err(Errno::INTR) => {}
            // Some file systems (NFS before 4.2) know nothing of it: there it is as if there were room.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn room_is_taken_without_a_change_to_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (data, locks) = (dir.path().join("data"), dir.path().join("locks"));
        take(&data, &locks).unwrap();
        let (found, lock) = (fs::metadata(&data).unwrap(), fs::metadata(&locks).unwrap());
        assert_eq!((found.len(), found.permissions().mode() & 0o777), (0, 0o600));
        assert!(found.blocks() * 512 >= 2 * 4096, "{} blocks", found.blocks());
        assert!(lock.len() >= 4096 * 64 && lock.blocks() * 512 >= lock.len(), "{lock:?}");
        fs::write(&data, "content").unwrap();
        fs::write(&locks, "content").unwrap();
        take(&data, &locks).unwrap();
        assert_eq!(fs::read(&data).unwrap(), b"content");
        assert!(fs::read(&locks).unwrap().starts_with(b"content"));
    }
}
