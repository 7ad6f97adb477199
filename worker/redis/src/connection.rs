//! One connection to one server.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, FromRedisValue, ProtocolVersion, RedisConnectionInfo, Value, aio::MultiplexedConnection,
};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    access::Access,
    error::ConnectError,
    identity::{Identity, ServerId, is_master},
    place::Place,
    pushes::Pushes,
};

/// Commands that may wait for their answers on one connection. A server that answers in 100 us needs 10 for 100,000 a second.
pub(crate) const IN_FLIGHT_MAX: usize = 1024;

/// Timeouts in a row, none of which overlap, after which a connection is taken for dead.
const TIMEOUTS_MAX: u32 = 3;

/// A connection whose server said that it is a master.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) multiplexed: MultiplexedConnection,
    pub(crate) server: ServerId,
    pub(crate) place: Place,
    /// Permits for the commands that wait for their answers, by their weight.
    pub(crate) in_flight: Semaphore,
    timeouts: Mutex<Timeouts>,
    end: Arc<End>,
    _driver: Driver,
}

#[derive(Debug, Default)]
struct Timeouts {
    in_a_row: u32,
    counted_at: Option<Instant>,
}

/// Says that a connection must not be used any more, and why. The first reason stays.
#[derive(Debug, Default)]
pub(crate) struct End {
    reason: Mutex<Option<&'static str>>,
    told: Notify,
}

impl End {
    fn tell(&self, reason: &'static str) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        // For the one task that keeps the connection; it may look later.
        self.told.notify_one();
    }

    fn reason(&self) -> Option<&'static str> {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(&self) -> &'static str {
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            self.told.notified().await;
        }
    }
}

/// The task that moves a connection's bytes; it ends with this handle.
#[derive(Debug)]
pub(crate) struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Connects to `place`, and finds out which server it is. With `pushes`, its messages go there.
    ///
    /// # Errors
    /// Nothing is there, it does not let us in, is not ready, or is no master. Takes as long as the server does.
    pub(crate) async fn make(access: &Access, place: &Place, pushes: Option<Pushes>) -> Result<Self, ConnectError> {
        let protocol = if pushes.is_some() { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
        let end = Arc::new(End::default());
        let (mut multiplexed, driver) =
            open(access, place, &access.introduction(protocol), pushes, Arc::clone(&end)).await?;
        let identity = identify(&mut multiplexed, place, access.name).await?;
        if !identity.is_master {
            return Err(ConnectError::NoMaster { place: place.to_string() });
        }
        Ok(Self {
            multiplexed,
            server: identity.server,
            place: place.clone(),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            timeouts: Mutex::default(),
            end,
            _driver: driver,
        })
    }

    /// Says that it must not be used any more.
    pub(crate) fn give_up(&self, reason: &'static str) {
        self.end.tell(reason);
    }

    /// Whether it must not be used any more. The task that keeps it may not have noticed yet.
    pub(crate) fn is_given_up(&self) -> bool {
        self.end.reason().is_some()
    }

    /// Waits until it must not be used any more, and says why. For one task.
    pub(crate) async fn ended(&self) -> &'static str {
        self.end.wait().await
    }

    /// A command begun at `began` had no answer in time.
    pub(crate) fn timed_out(&self, began: Instant, now: Instant) {
        let mut timeouts = self.timeouts.lock().unwrap_or_else(PoisonError::into_inner);
        if timeouts.counted_at.is_some_and(|counted_at| began < counted_at) {
            return;
        }
        timeouts.counted_at = Some(now);
        timeouts.in_a_row += 1;
        if timeouts.in_a_row >= TIMEOUTS_MAX {
            self.give_up("several commands in a row had no answer in time");
        }
    }

    /// A command had its answer.
    pub(crate) fn answered(&self) {
        self.timeouts.lock().unwrap_or_else(PoisonError::into_inner).in_a_row = 0;
    }

    /// Whether the server answers within `limit` and still is a master.
    pub(crate) async fn beats(&self, limit: Duration) -> Result<(), &'static str> {
        let mut connection = self.multiplexed.clone();
        let mut command = redis::cmd("INFO");
        command.arg("replication");
        match timeout(limit, command.query_async::<String>(&mut connection)).await {
            Err(_) => Err("it does not answer"),
            Ok(Err(_)) => Err("it does not tell what it is"),
            Ok(Ok(replication)) => match is_master(&replication) {
                Some(true) => Ok(()),
                _ => Err("it is no master any more"),
            },
        }
    }
}

/// Opens a connection, and says what `introduction` says.
pub(crate) async fn open(
    access: &Access,
    place: &Place,
    introduction: &RedisConnectionInfo,
    pushes: Option<Pushes>,
    end: Arc<End>,
) -> Result<(MultiplexedConnection, Driver), ConnectError> {
    let stream = place.reach(access.tls.as_ref()).await?;
    // Every command has a deadline of its own, and `IN_FLIGHT_MAX` bounds the queue.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(IN_FLIGHT_MAX);
    let config = match pushes {
        Some(pushes) => config.set_push_sender(pushes),
        None => config,
    };
    let (multiplexed, driver) = MultiplexedConnection::new_with_config(introduction, stream, config)
        .await
        .map_err(|source| ConnectError::Handshake { place: place.to_string(), source })?;
    let driver = tokio::spawn(async move {
        driver.await;
        end.tell("the connection was closed");
    });
    Ok((multiplexed, Driver(driver)))
}

/// Names the connection, asks which server it is, and whether it takes commands.
async fn identify(
    connection: &mut MultiplexedConnection,
    place: &Place,
    name: &'static str,
) -> Result<Identity, ConnectError> {
    let mut asked = redis::pipe();
    asked.cmd("CLIENT").arg("SETNAME").arg(name);
    asked.cmd("INFO").arg("server");
    asked.cmd("INFO").arg("replication");
    asked.cmd("PING");
    asked.ignore_errors();
    let refused = |source| ConnectError::Handshake { place: place.to_string(), source };
    let answers: Vec<Value> = asked.query_async(connection).await.map_err(refused)?;
    // The name is a courtesy to who looks at CLIENT LIST: a user without the right to set it is served all the same.
    let Ok([_, server, replication, ping]) = <[Value; 4]>::try_from(answers) else {
        return Err(ConnectError::Nonsense { place: place.to_string(), command: "the handshake" });
    };
    ping.extract_error().map_err(refused)?;
    let text = |value: Value| -> Result<String, ConnectError> {
        let value = value.extract_error().map_err(refused)?;
        String::from_redis_value(value)
            .map_err(|_| ConnectError::Nonsense { place: place.to_string(), command: "INFO" })
    };
    Identity::parse(&text(server)?, &text(replication)?)
        .ok_or_else(|| ConnectError::Nonsense { place: place.to_string(), command: "INFO" })
}
