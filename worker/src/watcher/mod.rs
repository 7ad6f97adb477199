//! Edits of the tree by hand bump its epoch, so that every worker looks again, and then the tags of what they have touched, so
//! that no result from before is answered any more.
//!
//! One watcher for the machine, in the admin process, and one in a process that runs alone. The workers' own writes are seen too, which costs a rescan that finds nothing new. Where the
//! system has no notification left, the tree is polled at the interval of the settings.
//!
//! Bounds: an edit is seen [`COALESCE`] after its notification, or one poll later without notification. What the kernel could
//! not tell (a file that appeared in a new folder before the folder was watched) is covered by one more bump after [`SETTLE`]
//! of quiet; a tree that was replaced as a whole is noticed within `store.poll_ms`. Where it is not known what was edited, every
//! result over the tree is computed anew. The last bump is told to clients only where something is not as it was when it was told
//! (`told`), or where nobody can say so. Which documents there are is counted after each edit (`census`), so that only one that came or
//! went is told as such.
//!
//! - `gathered`: what edits have touched; `census`: which documents there are; `told`: how edited files looked when they were told

mod census;
mod gathered;
mod told;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use notify::event::ModifyKind;
use notify::{Config, Event, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use task_mcp_cache::Cache;
use task_mcp_changes::EpochSource;
use task_mcp_config::settings::Store;
use task_mcp_scoreboard::Counter;
use task_mcp_state::Bus;
use task_mcp_tools::{Tag, tags, touched};
use tokio::sync::mpsc;

use self::census::Census;
use self::gathered::Gathered;
use self::told::Told;
use crate::epochs::TreeEpoch;
use crate::error::WorkerError;

/// How long notifications are gathered before they count as one edit: a write by a tool or an editor makes several.
const COALESCE: Duration = Duration::from_millis(20);
/// How long the tree must be quiet for the last bump after an edit.
const SETTLE: Duration = Duration::from_millis(500);

/// Batches of edits that wait to be bumped; the watcher gathers meanwhile.
const EDITS_MAX: usize = 16;

/// Something that was edited.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    /// What is to be bumped.
    bumped: Vec<Tag>,
    /// What is to be told; less than is bumped, if the rest is told already.
    told: Vec<Tag>,
}

/// Where the watcher tells the edits, and where they are heard.
pub(crate) fn edits() -> (mpsc::Sender<Edit>, mpsc::Receiver<Edit>) {
    mpsc::channel(EDITS_MAX)
}

/// Bumps what was edited and tells it to whoever wants to know, as long as the watcher lives.
pub(crate) async fn tell(mut edits: mpsc::Receiver<Edit>, cache: Cache, bus: Bus) {
    while let Some(Edit { bumped, told }) = edits.recv().await {
        cache.bump(&bumped).await;
        if !told.is_empty() {
            touched::tell(&bus, &told);
        }
    }
}

/// Starts to watch `openspec/` below the root, on a thread that lives as long as the process; `touched` hears the tags to bump.
///
/// # Errors
/// The system refuses the thread.
pub(crate) fn watch(
    store: &Store,
    epoch: TreeEpoch,
    touched: mpsc::Sender<Edit>,
    seen: Counter,
) -> Result<(), WorkerError> {
    let tree = TreeWatch {
        tree: store.root.join("openspec"),
        poll: Duration::from_millis(store.poll_ms),
        epoch,
        touched,
        seen,
    };
    thread::Builder::new().name("watcher".to_owned()).spawn(move || tree.run()).map_err(WorkerError::Watcher)?;
    Ok(())
}

struct TreeWatch {
    tree: PathBuf,
    poll: Duration,
    epoch: TreeEpoch,
    touched: mpsc::Sender<Edit>,
    seen: Counter,
}

/// What a watcher tells the thread.
#[derive(Clone)]
struct Bell {
    /// One place is enough: a notification that finds it taken is covered by the bump that is still to come.
    edited: SyncSender<()>,
    /// The folder itself was removed or renamed, so its watches are gone.
    lost: Arc<AtomicBool>,
    /// What was edited since the last bump; added to before the bell is rung.
    gathered: Arc<Mutex<Gathered>>,
}

impl TreeWatch {
    fn run(&self) {
        let mut census = Census::new(self.tree.parent().unwrap_or(Path::new("")).to_owned());
        loop {
            let (edited, edits) = sync_channel(1);
            let bell = Bell { edited, lost: Arc::default(), gathered: Arc::default() };
            let identity = identity(&self.tree);
            let watcher = identity.and_then(|_| self.attach(&bell));
            // What happened while nobody watched is unknown.
            self.seen.add(1);
            self.bump(&Gathered::everything(), &Gathered::everything(), &mut census);
            match watcher {
                Some(_watching) => self.pump(&edits, &bell, identity, &mut census),
                None => thread::sleep(self.poll),
            }
        }
    }

    /// Bumps for edits until the tree is another one than the one watched.
    fn pump(&self, edits: &Receiver<()>, bell: &Bell, watched: Option<Identity>, census: &mut Census) {
        let mut settle: Option<Instant> = None;
        let mut unsettled = Gathered::default();
        let mut told = Told::default();
        while !bell.lost.load(Ordering::Acquire) && identity(&self.tree) == watched {
            let wait = settle.map_or(self.poll, |at| at.saturating_duration_since(Instant::now()).min(self.poll));
            match edits.recv_timeout(wait) {
                Ok(()) => {
                    thread::sleep(COALESCE);
                    let _ = edits.try_recv();
                    let gathered = bell.take();
                    self.seen.add(1);
                    // Looked at before it is told: what changes afterwards is not as it was told.
                    told.look(&gathered);
                    self.bump(&gathered, &gathered, census);
                    unsettled.join(gathered);
                    settle = Some(Instant::now() + SETTLE);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if settle.is_some_and(|at| at <= Instant::now()) {
                        let untold = std::mem::take(&mut told).untold(&self.tree, &unsettled);
                        self.bump(&std::mem::take(&mut unsettled), &untold, census);
                        settle = None;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        tracing::info!("The tree was replaced; it is watched anew.");
    }

    /// First the index, then the tags: who computes under the new tags finds an index that knows of the edit. `untold` is what of it is to
    /// be told.
    fn bump(&self, gathered: &Gathered, untold: &Gathered, census: &mut Census) {
        if gathered.index() {
            self.epoch.bump();
        }
        let (mut bumped, mut told) = (gathered.tags(), untold.tags());
        if gathered.is_everything() {
            census.take();
        } else if census.differs(gathered.areas()) {
            bumped.push(tags::documents());
            told.push(tags::documents());
        }
        // The admin process ends when its runtime is gone.
        if !bumped.is_empty() && self.touched.blocking_send(Edit { bumped, told }).is_err() {
            tracing::debug!("Edits are seen while the process ends.");
        }
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

    /// Anything but a mere access below the tree may have changed a result; so may what the system could not tell.
    fn handler(&self, bell: &Bell) -> impl FnMut(notify::Result<Event>) + Send + 'static {
        let (tree, bell) = (self.tree.clone(), bell.clone());
        move |event| {
            let touched = match &event {
                Ok(event) if event.need_rescan() => Gathered::everything(),
                Ok(event) if matches!(event.kind, EventKind::Access(_)) => return,
                Ok(event) => {
                    let gone = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
                    if gone && event.paths.contains(&tree) {
                        bell.lost.store(true, Ordering::Release);
                    }
                    Gathered::of(&tree, &event.paths)
                }
                Err(_) => Gathered::everything(),
            };
            if !touched.is_empty() {
                bell.ring(touched);
            }
        }
    }
}

impl Bell {
    fn ring(&self, touched: Gathered) {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner).join(touched);
        let _ = self.edited.try_send(());
    }

    fn take(&self) -> Gathered {
        std::mem::take(&mut *self.gathered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Which folder the tree is. The time of its birth tells two folders apart that got one inode number after another.
type Identity = (u64, u64, Option<SystemTime>);

/// `None` while there is no such folder.
fn identity(tree: &Path) -> Option<Identity> {
    fs::symlink_metadata(tree).ok().map(|folder| (folder.dev(), folder.ino(), folder.created().ok()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use task_mcp_scoreboard::{Commons, Plan, Scoreboard};

    use super::*;

    #[test]
    fn the_index_moves_on_before_anybody_hears_of_the_tags() {
        let commons = Commons::create().unwrap();
        let scoreboard = Scoreboard::create(&Plan { seats: 1, series: task_mcp_telemetry::plan(&[], &[]) }).unwrap();
        let metrics = task_mcp_telemetry::Metrics::bind(&scoreboard, &scoreboard.seat(0).unwrap(), &[], &[]).unwrap();
        let (touched, mut heard) = mpsc::channel(1);
        touched.try_send(Edit::default()).unwrap();
        let tree = TreeWatch {
            tree: PathBuf::new(),
            poll: Duration::ZERO,
            epoch: TreeEpoch::new(commons.epochs()),
            touched,
            seen: metrics.tree_changes_seen,
        };
        let index = TreeEpoch::new(commons.epochs());
        let mut census = Census::new(PathBuf::new());
        let bumping = thread::spawn(move || tree.bump(&Gathered::everything(), &Gathered::everything(), &mut census));
        // There is no room to tell the tags yet.
        let deadline = Instant::now() + Duration::from_secs(10);
        while index.current() == 0 {
            assert!(Instant::now() < deadline, "the index waits for the tags");
            thread::yield_now();
        }
        assert_eq!(heard.blocking_recv().unwrap(), Edit::default());
        let tags = || Gathered::everything().tags();
        assert_eq!(heard.blocking_recv().unwrap(), Edit { bumped: tags(), told: tags() });
        bumping.join().unwrap();
    }

    #[tokio::test]
    async fn an_edit_is_bumped_once_more_when_all_is_quiet_and_not_told_again() {
        let commons = Commons::create().unwrap();
        let scoreboard = Scoreboard::create(&Plan { seats: 1, series: task_mcp_telemetry::plan(&[], &[]) }).unwrap();
        let metrics = task_mcp_telemetry::Metrics::bind(&scoreboard, &scoreboard.seat(0).unwrap(), &[], &[]).unwrap();
        let root = tempfile::tempdir().unwrap();
        let change = root.path().join("openspec/changes/add-x");
        fs::create_dir_all(&change).unwrap();
        fs::write(change.join("tasks.md"), "- [ ] 1.1 x\n").unwrap();
        let (touched, mut heard) = edits();
        let tree = TreeWatch {
            tree: root.path().join("openspec"),
            poll: Duration::from_secs(1),
            epoch: TreeEpoch::new(commons.epochs()),
            touched,
            seen: metrics.tree_changes_seen,
        };
        thread::spawn(move || tree.run());
        let mut next = async || tokio::time::timeout(Duration::from_secs(20), heard.recv()).await.unwrap().unwrap();
        assert_eq!(next().await.told, [tags::everything()], "what was before is unknown");
        fs::write(change.join("tasks.md"), "- [x] 1.1 x\n").unwrap();
        let mut edit = next().await;
        let bumped = std::mem::take(&mut edit.bumped);
        assert_eq!(edit.told, bumped);
        // On a machine that has no time, one write may be seen as two.
        while !edit.told.is_empty() {
            edit = next().await;
            assert_eq!(edit.bumped, bumped);
        }
    }
}
