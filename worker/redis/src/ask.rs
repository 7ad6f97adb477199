//! Asks the server something within a time.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{ErrorKind, FromRedisValue, Value};
use task_mcp_telemetry::RedisFault;
use tokio::time::timeout_at;

use crate::{
    breaker::{Admission, Breaker, Fault},
    commands::Commands,
    connection::{Connection, IN_FLIGHT_MAX},
    error::{RedisError, Unreachable},
    identity::ServerId,
    keeper::{Link, Shared},
    refusal::{self, Verdict},
};

/// An answer, and who gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<T> {
    /// The answer.
    pub value: T,
    /// The server that gave it.
    pub server: ServerId,
}

/// Asks within `budget`, and counts what becomes of it.
pub(crate) async fn ask<T: FromRedisValue>(
    shared: &Shared,
    commands: &Commands,
    budget: Duration,
) -> Result<Answer<T>, RedisError> {
    let began = Instant::now();
    let outcome = attempt(shared, commands, began, budget).await;
    match &outcome {
        Ok(_) => shared.metrics.answered(began.elapsed()),
        // The question whether the server knows a script has been answered.
        Err(error) if error.code().as_deref() == Some("NOSCRIPT") => shared.metrics.answered(began.elapsed()),
        Err(error) => shared.metrics.failed(match error {
            RedisError::Settings { .. } | RedisError::Unavailable(_) => RedisFault::Unavailable,
            RedisError::Breaker { .. } => RedisFault::Breaker,
            RedisError::Timeout { .. } => RedisFault::Timeout,
            RedisError::Server(_) => RedisFault::Server,
            RedisError::Nonsense(_) => RedisFault::Nonsense,
        }),
    }
    outcome
}

async fn attempt<T: FromRedisValue>(
    shared: &Shared,
    commands: &Commands,
    began: Instant,
    budget: Duration,
) -> Result<Answer<T>, RedisError> {
    let ticket = Ticket::take(shared)?;
    let deadline = tokio::time::Instant::from_std(began) + budget;
    let connection = connected(shared, deadline).await?;
    let _waiting = connection
        .in_flight
        .try_acquire_many(commands.weight())
        .map_err(|_| RedisError::Unavailable(Unreachable::Busy { limit: IN_FLIGHT_MAX }))?;
    let mut multiplexed = connection.multiplexed.clone();
    let Ok(answer) = timeout_at(deadline, commands.run(&mut multiplexed)).await else {
        connection.timed_out(began, Instant::now());
        held_against(shared, &connection, began, "no answer in time");
        ticket.spent();
        return Err(RedisError::Timeout { budget });
    };
    match judge(answer) {
        Judged::Answer(value, held_inside) => {
            connection.answered();
            match held_inside {
                None => shared.closed(shared.breaker(|breaker| breaker.answered(ticket.admission))),
                Some(verdict) => {
                    if verdict != Verdict::Command {
                        shared.metrics.failed(RedisFault::Server);
                    }
                    follow(shared, &connection, began, &ticket, verdict, "errors in its answers");
                }
            }
            ticket.spent();
            // What lies under a key may be anybody's; the bytes were in order, so those who share the connection do not suffer.
            // Answers that belong to other commands are noticed by the heartbeat, which asks for what nobody can store.
            convert(value).map(|value| Answer { value, server: connection.server })
        }
        Judged::Refused(verdict, error) => {
            connection.answered();
            follow(shared, &connection, began, &ticket, verdict, &refusal::describe(&error));
            ticket.spent();
            Err(RedisError::Server(error))
        }
        Judged::Nonsense(error) => {
            connection.give_up("an answer was none at all");
            held_against(shared, &connection, began, "answers that are none");
            ticket.spent();
            Err(RedisError::Nonsense(error))
        }
        Judged::Broke(error) => {
            connection.give_up("the connection broke");
            // It was there when this began: that it can be connected to again is no proof.
            held_against(shared, &connection, began, "the connection broke");
            ticket.spent();
            Err(RedisError::Unavailable(Unreachable::Broke(error)))
        }
    }
}

/// What came back.
enum Judged {
    /// An answer, and the worst of the errors it holds as values.
    Answer(Value, Option<Verdict>),
    /// An error of the server.
    Refused(Verdict, redis::RedisError),
    /// Bytes that are no answer.
    Nonsense(redis::RedisError),
    /// Nothing.
    Broke(redis::RedisError),
}

fn judge(answer: Result<Value, redis::RedisError>) -> Judged {
    match answer {
        Ok(value) => {
            let held_inside = refusal::worst(&value);
            Judged::Answer(value, held_inside)
        }
        Err(error) => match refusal::codes(&error).iter().map(|code| refusal::verdict(code)).max() {
            Some(verdict) => Judged::Refused(verdict, error),
            None if error.kind() == ErrorKind::Parse => Judged::Nonsense(error),
            None => Judged::Broke(error),
        },
    }
}

fn convert<T: FromRedisValue>(value: Value) -> Result<T, RedisError> {
    T::from_redis_value(value).map_err(|error| RedisError::Nonsense(error.into()))
}

/// Carries out what follows from an error of the server.
fn follow(
    shared: &Shared,
    connection: &Connection,
    began: Instant,
    ticket: &Ticket<'_>,
    verdict: Verdict,
    reason: &str,
) {
    match verdict {
        Verdict::Command => shared.closed(shared.breaker(|breaker| breaker.answered(ticket.admission))),
        Verdict::Server => held_against(shared, connection, began, reason),
        Verdict::WrongServer => {
            connection.give_up("its server is not the one to ask");
            held_against(shared, connection, began, reason);
        }
    }
}

/// The server is there, and did not do its work.
fn held_against(shared: &Shared, connection: &Connection, began: Instant, reason: &str) {
    if shared.failed(began, Fault::Unfit, reason) {
        connection.give_up("it is left alone");
    }
}

/// The connection, waited for until `deadline` if it is being made and nothing has gone wrong with it.
async fn connected(shared: &Shared, deadline: tokio::time::Instant) -> Result<Arc<Connection>, RedisError> {
    let mut link = shared.link.subscribe();
    loop {
        match &*link.borrow_and_update() {
            Link::Up(connection) if !connection.is_given_up() => return Ok(Arc::clone(connection)),
            Link::Down { reason, .. } => {
                return Err(RedisError::Unavailable(Unreachable::Down { reason: reason.to_string() }));
            }
            Link::Up(_) | Link::Connecting => {}
        }
        if !matches!(timeout_at(deadline, link.changed()).await, Ok(Ok(()))) {
            return Err(RedisError::Unavailable(Unreachable::Connecting));
        }
    }
}

/// Leave to ask. One that depends on this answer is given back if there is none, also when the caller goes away.
struct Ticket<'a> {
    shared: &'a Shared,
    admission: Admission,
    spent: Cell<bool>,
}

impl<'a> Ticket<'a> {
    fn take(shared: &'a Shared) -> Result<Self, RedisError> {
        match shared.breaker(Breaker::admit) {
            Admission::Refused { failures } => Err(RedisError::Breaker { failures }),
            admission => Ok(Self { shared, admission, spent: Cell::new(false) }),
        }
    }

    /// The breaker knows the outcome.
    fn spent(&self) {
        self.spent.set(true);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.admission == Admission::Trial && !self.spent.get() {
            self.shared.breaker(Breaker::abandoned);
        }
    }
}
