//! Settings with what belongs to them: what processes of one revision are started with.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use task_mcp_config::{Changes, Settings};
use task_mcp_link::told;
use tracing::{error, info, warn};

use crate::SupervisorError;
use crate::handover::{SavedProgram, SavedRevision};
use crate::launch::Configured;
use crate::listen::Inherited;
use crate::memory::{read_sealed, sealed};
use crate::program::Program;
use crate::run::{Supervisor, policy};
use crate::spawn::take_over;
use crate::step::{Change, Event};

/// What processes of one revision are started with.
#[derive(Debug)]
pub(crate) struct Revision {
    /// `None` if they are those of another version, which this one cannot read.
    pub(crate) settings: Option<Settings>,
    /// The settings as the processes read them.
    pub(crate) snapshot: OwnedFd,
    /// The program they run.
    pub(crate) program: Program,
    /// The scoreboard they count on, which was planned by that program: 0 the one in use, then older ones.
    pub(crate) board: usize,
}

impl Revision {
    /// Workers the settings ask for.
    pub(crate) fn workers(&self) -> Option<u16> {
        self.settings.as_ref().map(|settings| settings.server.workers)
    }
}

/// The revisions in use: the one that is trusted, the one on its way, and those of processes that have not left yet.
#[derive(Debug)]
pub(crate) struct Revisions {
    all: BTreeMap<u64, Revision>,
    /// One that was read and is not yet decided about.
    candidate: Option<u64>,
    /// Why the last one was refused, for those who asked.
    pub(crate) refusal: Option<String>,
}

impl Revisions {
    /// Number of the settings an instance starts with.
    pub(crate) const FIRST: u64 = 1;

    pub(crate) fn new(first: Revision) -> Self {
        Self { all: BTreeMap::from([(Self::FIRST, first)]), candidate: None, refusal: None }
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Revision> {
        self.all.get(&number)
    }

    /// Takes over what another program handed over; scoreboards have moved up by so many places since.
    pub(crate) fn restore(saved: Vec<SavedRevision>, programs: Vec<RawFd>, moved: usize) -> io::Result<Self> {
        let programs = programs.into_iter().map(take_over).collect::<io::Result<Vec<OwnedFd>>>()?;
        let revision = |saved: SavedRevision| {
            let snapshot = take_over(saved.snapshot)?;
            let program = match saved.program {
                SavedProgram::File(place) => {
                    let file = programs.get(place).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
                    Program::File(file.try_clone()?)
                }
                SavedProgram::Path(path) => Program::Path(path),
            };
            let settings = Settings::from_snapshot(&read_sealed(&snapshot)?).ok();
            Ok((saved.number, Revision { settings, snapshot, program, board: saved.board + moved }))
        };
        let all = saved.into_iter().map(revision).collect::<io::Result<_>>()?;
        Ok(Self { all, candidate: None, refusal: None })
    }

    /// The settings of a revision, if this version can read them.
    pub(crate) fn settings(&self, number: u64) -> Option<&Settings> {
        self.all.get(&number)?.settings.as_ref()
    }

    /// All of them with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Revision)> {
        self.all.iter().map(|(number, revision)| (*number, revision))
    }

    fn add(&mut self, revision: Revision) -> u64 {
        let number = self.all.last_key_value().map_or(Self::FIRST, |(last, _)| last + 1);
        self.all.insert(number, revision);
        self.candidate = Some(number);
        number
    }

    /// Drops all but these and the candidate, and tells which.
    fn keep(&mut self, numbers: &[u64]) -> Vec<u64> {
        let is_used = |number: &u64| numbers.contains(number) || self.candidate == Some(*number);
        let dropped: Vec<u64> = self.all.keys().copied().filter(|number| !is_used(number)).collect();
        dropped.iter().for_each(|number| drop(self.all.remove(number)));
        dropped
    }

    /// The candidate was decided about.
    pub(crate) fn decided(&mut self) {
        self.candidate = None;
    }
}

impl Supervisor {
    /// Reads the settings again and tells what they are in comparison with those in force.
    pub(crate) fn load(&mut self) {
        let event = match (self.read_settings)() {
            Ok(configured) => self.compare(configured),
            Err(reason) => Err(reason),
        };
        self.events.push(event.unwrap_or_else(|reason| {
            error!(reason, "The settings were read again and are refused; those before stay in force.");
            self.revisions.refusal = Some(reason);
            Event::NotLoaded { same: false }
        }));
    }

    fn compare(&mut self, configured: Configured) -> Result<Event, String> {
        let Some(now) = self.revisions.get(self.state.revision()) else {
            return Err("the settings in force are unknown; this is a bug".to_owned());
        };
        // Of settings of another version nothing is known: everything may differ.
        let changes = now.settings.as_ref().map(|settings| Changes::between(settings, &configured.settings));
        if changes.as_ref().is_some_and(Changes::is_empty) {
            info!("The settings were read again; nothing differs.");
            return Ok(Event::NotLoaded { same: true });
        }
        if let Some(reason) = self.objection(&configured.settings) {
            return Err(reason);
        }
        let wanted = configured.settings.server.workers;
        let workers = Some(wanted).filter(|_| now.workers() != Some(wanted));
        let change = Change {
            policy: policy(&configured.settings, wanted),
            workers,
            new_workers: changes.as_ref().is_none_or(Changes::new_workers),
            new_admin: changes.as_ref().is_none_or(Changes::new_admin),
        };
        let (program, board) = (now.program.try_clone().map_err(|error| told(&error))?, now.board);
        let revision = self.add_revision(configured, program, board).map_err(|error| told(&error))?;
        let changes = changes.unwrap_or_default();
        info!(
            revision,
            in_place = ?changes.in_place, new_workers = ?changes.workers, new_admin = ?changes.admin, new_processes = ?changes.all,
            "The settings were read again; these keys differ."
        );
        Ok(Event::Loaded { revision, change })
    }

    /// Why a running instance cannot have these settings, if it cannot.
    pub(crate) fn objection(&self, settings: &Settings) -> Option<String> {
        let now = self.revisions.get(self.state.revision())?;
        let fixed = now.settings.as_ref().map(|now| Changes::between(now, settings).fixed).unwrap_or_default();
        if !fixed.is_empty() {
            return Some(format!(
                "{} cannot change while the instance runs; set it back, or stop the instance and start it again",
                fixed.join(", ")
            ));
        }
        let (wanted, most) = (settings.server.workers, self.state.slots_max());
        (wanted > most && now.workers() != Some(wanted)).then(|| {
            format!(
                "server.workers: {wanted} workers are more than the {most} this instance may have while it runs; stop it and \
                 start it again"
            )
        })
    }

    /// Opens what other settings listen to and keeps them, for processes to come.
    pub(crate) fn add_revision(
        &mut self,
        configured: Configured,
        program: Program,
        board: usize,
    ) -> Result<u64, SupervisorError> {
        let Configured { settings, snapshot } = configured;
        let snapshot = sealed(&snapshot)?;
        let (listen, admin) = (settings.server.listen.clone(), settings.admin.listen);
        let number = self.revisions.add(Revision { settings: Some(settings), snapshot, program, board });
        match self.listeners.extend(number, &listen, admin, &mut Inherited::default()) {
            Ok(()) => Ok(number),
            Err(error) => {
                self.revisions.decided();
                let others: Vec<u64> = self.revisions.all.keys().copied().filter(|other| *other != number).collect();
                self.revisions.keep(&others);
                Err(error)
            }
        }
    }

    /// Tells a process to take settings over in place.
    pub(crate) fn apply(&mut self, generation: u64, revision: u64) {
        let (Some(process), Some(settings)) = (self.processes.get_mut(&generation), self.revisions.get(revision))
        else {
            return;
        };
        process.revision = revision;
        let message = task_mcp_link::ToProcess::Apply { revision };
        if let Err(lost) = process.tell(&message, &[settings.snapshot.as_fd()]) {
            warn!(process = %process.post, generation, error = %lost, "A process could not be told to take settings over.");
            self.events.push(Event::LinkLost { generation });
        }
    }

    /// Gives up what no process uses any more.
    pub(crate) fn keep(&mut self, revisions: &[u64]) {
        for dropped in self.revisions.keep(revisions) {
            self.listeners.retire(dropped);
        }
    }
}
