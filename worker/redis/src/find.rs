//! Finds the master, whatever the topology, and connects to it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::Value;
use tokio::time::{sleep, timeout};

use crate::{
    access::{Access, Topology},
    connection::{Connection, End, open},
    error::ConnectError,
    place::Place,
    pushes::Pushes,
};

/// A place that does not answer holds up the next one by this part of the time a connection may take.
const HEAD_START: u32 = 4;

/// Finds the master and connects to it, again and again.
pub(crate) struct Finder {
    access: Access,
    /// The place that knew the answer last, and is asked first.
    preferred: AtomicUsize,
}

impl Finder {
    pub(crate) fn new(access: Access) -> Self {
        Self { access, preferred: AtomicUsize::new(0) }
    }

    /// How long one step may take: to find out where the master is, and to connect to it.
    pub(crate) fn step_limit(&self) -> Duration {
        self.access.connect_timeout
    }

    /// A connection to the master. Takes at most twice the time a connection may take, or once if it needs not be found.
    pub(crate) async fn master(&self, pushes: Option<Pushes>) -> Result<Connection, ConnectError> {
        let place = self.locate().await?;
        let limit = self.access.connect_timeout;
        let made = timeout(limit, Connection::make(&self.access, &place, pushes)).await;
        made.map_err(|_| ConnectError::Timeout { limit })?
    }

    /// Whether the sentinels name another master than the one at `place`. One that is cut off from them does not know it yet, and
    /// would be asked on. A master of a cluster that is cut off stops by itself (Redis cluster specification, "Fault tolerance").
    pub(crate) async fn is_replaced(&self, place: &Place) -> bool {
        matches!(self.access.topology, Topology::Sentinel { .. })
            && self.locate().await.is_ok_and(|located| located != *place)
    }

    /// Where the master is.
    async fn locate(&self) -> Result<Place, ConnectError> {
        let limit = self.access.connect_timeout;
        let late = |_| ConnectError::Timeout { limit };
        match &self.access.topology {
            Topology::Standalone => self.access.places.first().cloned().ok_or(ConnectError::NoPlace),
            Topology::Sentinel { master, password } => {
                let ask = |place| self.ask_sentinel(place, master, password.as_deref());
                timeout(limit, self.first_to_know(ask)).await.map_err(late)?
            }
            Topology::Cluster { slot } => {
                let ask = |place| self.ask_node(place, *slot);
                timeout(limit, self.first_to_know(ask)).await.map_err(late)?
            }
        }
    }

    /// Asks all places, the preferred one first; the next one is asked when one fails or is slow. The first answer counts, and
    /// whose it was is preferred from then on.
    async fn first_to_know<'a, F>(&'a self, ask: impl Fn(&'a Place) -> F) -> Result<Place, ConnectError>
    where
        F: Future<Output = Result<Place, ConnectError>>,
    {
        let count = self.access.places.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut order = (0..count).map(|step| (first + step) % count);
        let mut asked = FuturesUnordered::new();
        let mut failure = ConnectError::NoPlace;
        loop {
            if let Some(index) = order.next()
                && let Some(place) = self.access.places.get(index)
            {
                let answer = ask(place);
                asked.push(async move { (index, answer.await) });
            }
            let head_start = sleep(self.access.connect_timeout / HEAD_START);
            tokio::select! {
                answer = asked.next() => match answer {
                    Some((index, Ok(place))) => {
                        self.preferred.store(index, Ordering::Relaxed);
                        return Ok(place);
                    }
                    Some((_, Err(error))) => failure = error,
                    None => return Err(failure),
                },
                () = head_start => {}
            }
        }
    }

    /// `SENTINEL GET-MASTER-ADDR-BY-NAME`.
    async fn ask_sentinel(&self, place: &Place, name: &str, password: Option<&str>) -> Result<Place, ConnectError> {
        let introduction = Access::introduction_to_sentinel(password);
        let (mut sentinel, _driver) = open(&self.access, place, &introduction, None, Arc::new(End::default())).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let answer: Option<(String, u16)> = question
            .query_async(&mut sentinel)
            .await
            .map_err(|source| ConnectError::Handshake { place: place.to_string(), source })?;
        let (host, port) =
            answer.ok_or_else(|| ConnectError::UnknownMaster { place: place.to_string(), name: name.to_owned() })?;
        Place::tcp(&host, port).ok_or_else(|| ConnectError::Nonsense { place: place.to_string(), command: "SENTINEL" })
    }

    /// `CLUSTER SLOTS`.
    async fn ask_node(&self, place: &Place, slot: u16) -> Result<Place, ConnectError> {
        let introduction = self.access.introduction(redis::ProtocolVersion::RESP2);
        let (mut node, _driver) = open(&self.access, place, &introduction, None, Arc::new(End::default())).await?;
        let mut question = redis::cmd("CLUSTER");
        question.arg("SLOTS");
        let answer: Value = question
            .query_async(&mut node)
            .await
            .map_err(|source| ConnectError::Handshake { place: place.to_string(), source })?;
        owner_of(&answer, slot, place).ok_or_else(|| ConnectError::NoOwner { place: place.to_string(), slot })
    }
}

/// The master of a slot in the answer to CLUSTER SLOTS. A node that does not know its own address leaves it out, or says `?`:
/// it is where it was asked.
fn owner_of(answer: &Value, slot: u16, asked: &Place) -> Option<Place> {
    let Value::Array(ranges) = answer else { return None };
    ranges.iter().find_map(|range| {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = parts.as_slice() else { return None };
        if !(*first..=*last).contains(&i64::from(slot)) {
            return None;
        }
        let [host, Value::Int(port), ..] = master.as_slice() else { return None };
        let port = u16::try_from(*port).ok()?;
        match (text(host), asked) {
            (Some(host), _) if !host.is_empty() && host != "?" => Place::tcp(&host, port),
            (_, Place::Tcp { host, .. }) => Place::tcp(host, port),
            (_, Place::Unix(_)) => None,
        }
    })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_slot_is_read_from_the_ranges() {
        let answer = redis::parse_redis_value(
            b"*3\r\n*3\r\n:0\r\n:99\r\n*3\r\n$8\r\n10.0.0.1\r\n:7000\r\n$1\r\na\r\n\
              *4\r\n:100\r\n:199\r\n*3\r\n$0\r\n\r\n:7001\r\n$1\r\nb\r\n*3\r\n$8\r\n10.0.0.2\r\n:7002\r\n$1\r\nc\r\n\
              *3\r\n:200\r\n:300\r\n*3\r\n$-1\r\n:99999\r\n$1\r\nd\r\n",
        )
        .unwrap();
        let asked = Place::parse("10.9.9.9:1").unwrap();
        let owner = |slot| owner_of(&answer, slot, &asked).map(|place| place.to_string());
        assert_eq!(owner(99).as_deref(), Some("10.0.0.1:7000"));
        assert_eq!(owner(100).as_deref(), Some("10.9.9.9:7001"));
        assert_eq!(owner(250), None, "no such port");
        assert_eq!(owner(301), None);
        assert_eq!(owner_of(&Value::Okay, 1, &asked), None);
    }
}
