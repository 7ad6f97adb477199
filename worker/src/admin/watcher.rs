//! Edits of the tree by hand bump its epoch, so that every worker looks again.
//!
//! One watcher for the machine. The workers' own writes are seen too, which costs a rescan that finds nothing new. Where the
//! system has no notification left, the tree is polled at the interval of the settings.
//!
//! Bounds: an edit is seen [`COALESCE`] after its notification, or one poll later without notification. What the kernel could
//! not tell (a file that appeared in a new folder before the folder was watched) is covered by one more bump after [`SETTLE`]
//! of quiet; a tree that was replaced as a whole is noticed within `store.poll_ms`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use notify::event::ModifyKind;
use notify::{Config, Event, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use task_mcp_changes::EpochSource;
use task_mcp_config::settings::Store;
use task_mcp_scoreboard::Counter;

use crate::epochs::TreeEpoch;
use crate::error::WorkerError;

/// How long notifications are gathered before they count as one edit: a write by a tool or an editor makes several.
const COALESCE: Duration = Duration::from_millis(20);
/// How long the tree must be quiet for the last bump after an edit.
const SETTLE: Duration = Duration::from_millis(500);

/// Starts to watch `openspec/` below the root, on a thread that lives as long as the process.
///
/// # Errors
/// The system refuses the thread.
pub(crate) fn watch(store: &Store, epoch: TreeEpoch, seen: Counter) -> Result<(), WorkerError> {
    let tree = TreeWatch { tree: store.root.join("openspec"), poll: Duration::from_millis(store.poll_ms), epoch, seen };
    thread::Builder::new().name("watcher".to_owned()).spawn(move || tree.run()).map_err(WorkerError::Watcher)?;
    Ok(())
}

struct TreeWatch {
    tree: PathBuf,
    poll: Duration,
    epoch: TreeEpoch,
    seen: Counter,
}

/// What a watcher tells the thread.
#[derive(Clone)]
struct Bell {
    /// One place is enough: a notification that finds it taken is covered by the bump that is still to come.
    edited: SyncSender<()>,
    /// The folder itself was removed or renamed, so its watches are gone.
    lost: Arc<AtomicBool>,
}

impl TreeWatch {
    fn run(&self) {
        loop {
            let (edited, edits) = sync_channel(1);
            let bell = Bell { edited, lost: Arc::default() };
            let identity = identity(&self.tree);
            let watcher = identity.and_then(|_| self.attach(&bell));
            // What happened while nobody watched is unknown.
            self.bump();
            match watcher {
                Some(_watching) => self.pump(&edits, &bell.lost, identity),
                None => thread::sleep(self.poll),
            }
        }
    }

    /// Bumps for edits until the tree is another one than the one watched.
    fn pump(&self, edits: &Receiver<()>, lost: &AtomicBool, watched: Option<Identity>) {
        let mut settle: Option<Instant> = None;
        while !lost.load(Ordering::Acquire) && identity(&self.tree) == watched {
            let wait = settle.map_or(self.poll, |at| at.saturating_duration_since(Instant::now()).min(self.poll));
            match edits.recv_timeout(wait) {
                Ok(()) => {
                    thread::sleep(COALESCE);
                    let _ = edits.try_recv();
                    self.bump();
                    settle = Some(Instant::now() + SETTLE);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if settle.is_some_and(|at| at <= Instant::now()) {
                        self.epoch.bump();
                        settle = None;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        tracing::info!("The tree was replaced; it is watched anew.");
    }

    fn bump(&self) {
        self.seen.add(1);
        self.epoch.bump();
    }

    fn attach(&self, bell: &Bell) -> Option<Box<dyn Watcher>> {
        // A link may lead anywhere, to the root of the file system too; the tools follow none either.
        let config = Config::default().with_follow_symlinks(false);
        let notified = RecommendedWatcher::new(self.handler(bell), config)
            .and_then(|mut watcher| watcher.watch(&self.tree, RecursiveMode::Recursive).map(|()| watcher));
        let reason = match notified {
            Ok(watcher) => return Some(Box::new(watcher)),
            Err(reason) => reason,
        };
        tracing::warn!(
            error = %reason, poll_ms = self.poll.as_millis(),
            "The tree cannot be watched by notification; it is polled (store.poll_ms)."
        );
        let polled = PollWatcher::new(self.handler(bell), config.with_poll_interval(self.poll))
            .and_then(|mut watcher| watcher.watch(&self.tree, RecursiveMode::Recursive).map(|()| watcher));
        match polled {
            Ok(watcher) => Some(Box::new(watcher)),
            Err(error) => {
                tracing::error!(error = %error, "The tree cannot be polled either; another try follows (store.poll_ms).");
                None
            }
        }
    }

    /// Anything but a mere access below the tree may have changed a list; so may what the system could not tell.
    fn handler(&self, bell: &Bell) -> impl FnMut(notify::Result<Event>) + Send + 'static {
        let (tree, private, bell) = (self.tree.clone(), self.tree.join(".task-mcp"), bell.clone());
        move |event| {
            let matters = match &event {
                Ok(event) => {
                    let gone = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
                    if gone && event.paths.contains(&tree) {
                        bell.lost.store(true, Ordering::Release);
                    }
                    let inside = !event.paths.is_empty() && event.paths.iter().all(|path| path.starts_with(&private));
                    event.need_rescan() || (!matches!(event.kind, EventKind::Access(_)) && !inside)
                }
                Err(_) => true,
            };
            if matters {
                let _ = bell.edited.try_send(());
            }
        }
    }
}

/// Which folder the tree is. The time of its birth tells two folders apart that got one inode number after another.
type Identity = (u64, u64, Option<SystemTime>);

/// `None` while there is no such folder.
fn identity(tree: &Path) -> Option<Identity> {
    fs::symlink_metadata(tree).ok().map(|folder| (folder.dev(), folder.ino(), folder.created().ok()))
}
