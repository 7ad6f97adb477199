//! Listens to channels, on a connection of its own that is made anew for ever.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    backoff::Backoff,
    connection::Connection,
    error::{RedisError, Unreachable},
    find::Finder,
    identity::ServerId,
    keeper::{HEARTBEAT, RELOCATE},
    pushes::{self, Arrivals, MESSAGES_MAX, Push},
};

/// What a subscription hears, in the order it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// All channels are subscribed to, on this server; what is published from now on is heard.
    Joined {
        /// The server.
        server: ServerId,
    },
    /// A message.
    Message {
        /// The channel.
        channel: String,
        /// Its bytes, as they were published.
        payload: Vec<u8>,
    },
    /// There is no connection, any more or yet: what is published until the next `Joined` is never heard. Said once, however often
    /// it is tried to come back.
    Lost {
        /// Why, without secrets.
        reason: String,
    },
}

/// Some channels, listened to until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    heard: mpsc::Receiver<Heard>,
    /// Heard while `ping` waited.
    aside: VecDeque<Heard>,
    pings: mpsc::Sender<Ping>,
    listener: JoinHandle<()>,
}

/// A question of the subscription to its task.
#[derive(Debug)]
struct Ping {
    budget: Duration,
    answer: oneshot::Sender<Result<ServerId, RedisError>>,
}

impl Subscription {
    /// Starts to listen. Within a tokio runtime.
    pub(crate) fn start(finder: Arc<Finder>, backoff: Backoff, channels: Vec<String>) -> Self {
        // As many as the connection's own queue, so that a listener that is behind has twice that in all.
        let (sender, heard) = mpsc::channel(MESSAGES_MAX);
        let (pings, asked) = mpsc::channel(1);
        let listener = tokio::spawn(Listener { finder, channels, heard: sender, pings: asked }.run(backoff));
        Self { heard, aside: VecDeque::new(), pings, listener }
    }

    /// What was heard next. Can be cancelled: nothing is lost. After the runtime has shut down it never returns.
    pub async fn next(&mut self) -> Heard {
        if let Some(heard) = self.aside.pop_front() {
            return heard;
        }
        match self.heard.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }

    /// Asks the server on the same connection whether it is there. When it has answered, all messages published before are among
    /// what `next` gives without waiting.
    ///
    /// # Errors
    /// There is no connection, or no answer within `budget`. Nothing that was heard meanwhile is lost.
    pub async fn ping(&mut self, budget: Duration) -> Result<ServerId, RedisError> {
        let (answer, mut answered) = oneshot::channel();
        let late = tokio::time::Instant::now() + budget;
        if self.pings.try_send(Ping { budget, answer }).is_err() {
            return Err(RedisError::Timeout { budget });
        }
        loop {
            tokio::select! {
                answer = &mut answered => {
                    while self.aside.len() < MESSAGES_MAX && let Ok(heard) = self.heard.try_recv() {
                        self.aside.push_back(heard);
                    }
                    return answer.unwrap_or(Err(RedisError::Unavailable(Unreachable::Connecting)));
                }
                Some(heard) = self.heard.recv(), if self.aside.len() < MESSAGES_MAX => self.aside.push_back(heard),
                () = tokio::time::sleep_until(late) => return Err(RedisError::Timeout { budget }),
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// The task behind a subscription.
struct Listener {
    finder: Arc<Finder>,
    channels: Vec<String>,
    heard: mpsc::Sender<Heard>,
    pings: mpsc::Receiver<Ping>,
}

impl Listener {
    /// Ends when nobody listens any more.
    async fn run(mut self, mut backoff: Backoff) {
        // Whoever listens is told of a loss once, not of each failed attempt to come back.
        let mut told = false;
        loop {
            match self.join().await {
                Ok((connection, arrivals)) => {
                    if self.heard.send(Heard::Joined { server: connection.server }).await.is_err() {
                        return;
                    }
                    let Some(reason) = self.listen(&connection, arrivals, &mut backoff).await else { return };
                    if self.heard.send(Heard::Lost { reason }).await.is_err() {
                        return;
                    }
                    told = true;
                }
                Err(reason) if !told => {
                    if self.heard.send(Heard::Lost { reason }).await.is_err() {
                        return;
                    }
                    told = true;
                }
                Err(_) => {}
            }
            let pause = sleep(backoff.next());
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    ping = self.pings.recv() => match ping {
                        Some(ping) => _ = ping.answer.send(Err(RedisError::Unavailable(Unreachable::Connecting))),
                        None => return,
                    },
                }
            }
        }
    }

    /// Connects and subscribes.
    async fn join(&self) -> Result<(Connection, Arrivals), String> {
        let (pushes, arrivals) = pushes::queue();
        let connection = self.finder.master(Some(pushes)).await.map_err(|error| error.to_string())?;
        let mut multiplexed = connection.multiplexed.clone();
        match timeout(self.finder.step_limit(), multiplexed.subscribe(&self.channels)).await {
            Ok(Ok(())) => Ok((connection, arrivals)),
            Ok(Err(error)) => Err(format!("it refused to subscribe: {}", crate::refusal::describe(&error))),
            Err(_) => Err("it did not answer to SUBSCRIBE".to_owned()),
        }
    }

    /// Passes on what arrives until the connection ends, and says why it did; nothing if nobody listens any more.
    async fn listen(
        &mut self,
        connection: &Connection,
        mut arrivals: Arrivals,
        backoff: &mut Backoff,
    ) -> Option<String> {
        let limit = self.finder.step_limit();
        let (mut beat, mut relocate) = (interval(HEARTBEAT), interval(RELOCATE));
        for timer in [&mut beat, &mut relocate] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            timer.tick().await;
        }
        loop {
            tokio::select! {
                push = arrivals.next() => match push {
                    Some(push) => self.pass_on(push).await?,
                    None if arrivals.overflowed() => return Some("more messages than could be taken".to_owned()),
                    None => return Some("the connection was closed".to_owned()),
                },
                reason = connection.ended() => return Some(reason.to_owned()),
                ping = self.pings.recv() => {
                    let Ping { budget, answer } = ping?;
                    let outcome = match timeout(budget, connection.beats(limit)).await {
                        Ok(Ok(())) => Ok(connection.server),
                        Ok(Err(reason)) => {
                            let reason = reason.to_owned();
                            _ = answer.send(Err(RedisError::Unavailable(Unreachable::Down { reason: reason.clone() })));
                            return Some(reason);
                        }
                        Err(_) => Err(RedisError::Timeout { budget }),
                    };
                    while let Some(push) = arrivals.waiting() {
                        self.pass_on(push).await?;
                    }
                    _ = answer.send(outcome);
                }
                _ = beat.tick() => match connection.beats(limit).await {
                    Ok(()) => backoff.reset(),
                    Err(reason) => return Some(reason.to_owned()),
                },
                _ = relocate.tick() => {
                    if self.finder.is_replaced(&connection.place).await {
                        return Some("the sentinels name another master".to_owned());
                    }
                }
            }
        }
    }

    async fn pass_on(&self, push: Push) -> Option<()> {
        let Push { channel, payload } = push;
        self.heard.send(Heard::Message { channel, payload }).await.ok()
    }
}
