//! The thread that writes. A transaction ends with fsync(2), so what waits meanwhile goes into the next one together. The lock of
//! LMDB's writers has no time limit: another process that was stopped with it stops this thread, and nobody else.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heed::MdbError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::environment::Environment;
use super::tables::Writing;
use crate::StateError;
use crate::records::operation::{Write, Written};
use crate::records::record::now_ms;

/// Jobs that may wait for the thread.
const QUEUE: usize = 1_024;
/// Jobs of one transaction.
const BATCH: usize = 128;
/// What waiting jobs may hold together, in units.
const WAITING_UNITS: usize = 64 << 10;
const UNIT_BYTES: usize = 1 << 10;
/// Of the room, this share is kept for what must not fail: answers of calls that were run, revocations, runners.
const RESERVE_SHARE: u64 = 10;

/// A handle on the thread, which ends with the last one.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Job {
    task: Task,
    /// Nobody waits any longer.
    deadline: Instant,
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Task {
    Write { write: Write, reply: oneshot::Sender<Result<Written, StateError>> },
    Sweep { reply: oneshot::Sender<Result<usize, StateError>> },
}

impl Writer {
    pub(super) fn start(environment: Environment) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        std::thread::Builder::new().name("state-writer".to_owned()).spawn(move || work(&environment, waiting))?;
        Ok(Self { jobs, room: Arc::new(Semaphore::new(WAITING_UNITS)) })
    }

    /// Makes a change and answers when it is on disk. After the limit it may still be made.
    pub(super) async fn write(&self, write: Write, limit: Duration) -> Result<Written, StateError> {
        let units = u32::try_from(write.bytes().div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let (reply, answer) = oneshot::channel();
        self.ask(Task::Write { write, reply }, units, answer, limit).await
    }

    pub(super) async fn sweep(&self, limit: Duration) -> Result<usize, StateError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Task::Sweep { reply }, 0, answer, limit).await
    }

    async fn ask<T>(
        &self,
        task: Task,
        units: u32,
        answer: oneshot::Receiver<Result<T, StateError>>,
        limit: Duration,
    ) -> Result<T, StateError> {
        let deadline = Instant::now() + limit;
        let asked = async {
            let room = match units {
                0 => None,
                units => Some(Arc::clone(&self.room).acquire_many_owned(units).await.map_err(|_| StateError::Gone)?),
            };
            self.jobs.send(Job { task, deadline, _room: room }).await.map_err(|_| StateError::Gone)?;
            answer.await.map_err(|_| StateError::Timeout { limit })?
        };
        timeout(limit, asked).await.unwrap_or(Err(StateError::Timeout { limit }))
    }
}

fn work(environment: &Environment, mut waiting: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(BATCH);
    while waiting.blocking_recv_many(&mut jobs, BATCH) > 0 {
        // Who gave up is told nothing, so that nothing is done for it either.
        let now = Instant::now();
        jobs.retain(|job| job.deadline > now);
        let mut jobs = std::mem::take(&mut jobs);
        match carry_out(environment, &jobs) {
            Ok(answers) => jobs.into_iter().zip(answers).for_each(|(job, answer)| job.task.reply(answer)),
            Err(error) if jobs.len() <= 1 => {
                if let Some(job) = jobs.pop() {
                    job.task.reply(Err(told(environment, error)));
                }
            }
            // One of them cannot be done, and the others failed with it.
            Err(_) => {
                for job in jobs.drain(..) {
                    let answer = carry_out(environment, std::slice::from_ref(&job));
                    let answer = answer
                        .map_err(|error| told(environment, error))
                        .and_then(|mut answers| answers.pop().unwrap_or(Err(StateError::Gone)));
                    job.task.reply(answer);
                }
            }
        }
    }
}

/// What a job has done.
enum Done {
    Written(Written),
    Swept(usize),
}

/// Does all jobs in one transaction, on disk when this returns; or none.
fn carry_out(environment: &Environment, jobs: &[Job]) -> Result<Vec<Result<Done, StateError>>, heed::Error> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let mut txn = environment.env.write_txn()?;
    let tables = environment.tables;
    let now_ms = now_ms();
    let mut answers = Vec::with_capacity(jobs.len());
    for job in jobs {
        answers.push(match &job.task {
            Task::Sweep { .. } => Ok(Done::Swept(tables.sweep(&mut txn, now_ms)?)),
            Task::Write { write, .. } => {
                let bytes = write.bytes() as u64;
                let reserve = if write.is_vital { 0 } else { environment.max_bytes / RESERVE_SHARE };
                if bytes > 0 && tables.bytes(&txn)? + bytes > environment.max_bytes - reserve {
                    Err(StateError::Full { limit_bytes: environment.max_bytes })
                } else {
                    Ok(Done::Written(write.apply(&mut Writing { tables, txn: &mut txn }, now_ms)?))
                }
            }
        });
    }
    txn.commit()?;
    Ok(answers)
}

/// What callers are told of an error of LMDB.
fn told(environment: &Environment, error: heed::Error) -> StateError {
    match error {
        heed::Error::Mdb(MdbError::MapFull) => StateError::Full { limit_bytes: environment.max_bytes },
        error => StateError::Embedded(error),
    }
}

impl Task {
    /// Answers; who has given up does not hear it.
    fn reply(self, answer: Result<Done, StateError>) {
        match (self, answer) {
            (Self::Write { reply, .. }, Ok(Done::Written(written))) => drop(reply.send(Ok(written))),
            (Self::Sweep { reply }, Ok(Done::Swept(removed))) => drop(reply.send(Ok(removed))),
            (Self::Write { reply, .. }, Err(error)) => drop(reply.send(Err(error))),
            (Self::Sweep { reply }, Err(error)) => drop(reply.send(Err(error))),
            (Self::Write { .. }, Ok(Done::Swept(_))) | (Self::Sweep { .. }, Ok(Done::Written(_))) => {}
        }
    }
}
