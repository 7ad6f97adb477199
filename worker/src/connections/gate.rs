//! Who is let in.
//!
//! An address has a limit over all workers, which always refuses. All connections have one over all workers too: at it, a worker
//! closes the connection that has been idle longest of its own, whose place the new one takes over, and only if none is idle the
//! new one is refused. So at the limit the sum over the workers does not change, whatever they do at the same time.
//! Which gives way is read from the order of those that serve nothing; what that costs does not grow with their number.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use task_mcp_scoreboard::{
    AddressKey, AddressRow, Commons, Held, Place, ScoreboardError, Seat, monotonic_ms, monotonic_us,
};
use task_mcp_telemetry::LimitMetrics;

use super::entry::Entry;
use super::limits::ConnectionLimits;
use super::order::Order;

/// How often the log says that connections are refused, in milliseconds.
const COMPLAIN_EVERY_MS: u64 = 60_000;
/// Connections that may be looked at in vain for one that gives way. In vain is one whose bytes are on their way through this
/// process, or whose place in the order is out of date, which is then mended.
const IN_VAIN_MAX: usize = 64;

/// The open connections of this worker. One for each worker.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: ConnectionLimits,
    seat: Seat,
    metrics: LimitMetrics,
    open: Mutex<Open>,
    complained_ms: AtomicU64,
}

#[derive(Debug)]
struct Open {
    row: AddressRow,
    members: HashMap<u64, Member>,
    order: Arc<Order>,
    next: u64,
    #[cfg(test)]
    looks: usize,
}

/// A connection that was let in.
#[derive(Debug)]
struct Member {
    entry: Arc<Entry>,
    /// `None` once another has it.
    place: Option<Place>,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its address has as many as it may have.
    Address,
    /// The instance has as many as it may have, and all of this worker are busy.
    Full,
}

/// A connection that was let in, until it ends.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    number: u64,
    entry: Arc<Entry>,
    /// `None` once it was given back.
    held: Option<Held>,
}

/// Room for a connection that has not been accepted yet. It must be used or dropped before the thread that serves turns to others:
/// a connection that is to be closed for it may get a request.
#[derive(Debug)]
pub(crate) struct Reserved {
    gate: Arc<Gate>,
    /// `None` if one that is idle gives its own.
    place: Option<Place>,
}

impl Gate {
    /// The gate of the process with this seat.
    ///
    /// # Errors
    /// No memory for a worker that finds no row in the commons.
    pub(crate) fn new(
        limits: ConnectionLimits,
        seat: &Seat,
        commons: &Commons,
        metrics: LimitMetrics,
    ) -> Result<Arc<Self>, ScoreboardError> {
        let row = match commons.addresses().claim(std::process::id()) {
            Some(row) => row,
            None => {
                tracing::warn!(
                    "No row is left for the connections of this worker; limits.max_connections and limits.max_connections_per_ip hold \
                     for it alone."
                );
                let alone = Commons::create()?.addresses().claim(std::process::id());
                alone.ok_or(ScoreboardError::Magic { expected: "an empty row" })?
            }
        };
        let open = Open {
            row,
            members: HashMap::new(),
            order: Arc::default(),
            next: 0,
            #[cfg(test)]
            looks: 0,
        };
        let open = Mutex::new(open);
        Ok(Arc::new(Self { limits, seat: seat.clone(), metrics, open, complained_ms: AtomicU64::new(0) }))
    }

    pub(crate) fn limits(&self) -> ConnectionLimits {
        self.limits
    }

    pub(crate) fn metrics(&self) -> &LimitMetrics {
        &self.metrics
    }

    /// Room for one connection, before it is accepted; `None` if it would be refused whatever its address. Nothing is closed yet.
    pub(crate) fn reserve(self: &Arc<Self>) -> Option<Reserved> {
        let mut open = self.open();
        let returned = open.order.returned().len();
        let place = if returned == 0 { open.row.enter(self.limits.most) } else { None };
        let is_possible = place.is_some() || open.giving_way(returned + 1, monotonic_us()).len() > returned;
        drop(open);
        is_possible.then(|| Reserved { gate: Arc::clone(self), place })
    }

    /// Lets a connection in, or says why not.
    pub(crate) fn admit(self: &Arc<Self>, client: IpAddr, reserved: Option<Reserved>) -> Result<Pass, Refused> {
        let place = reserved.and_then(|mut reserved| reserved.place.take());
        let mut open = self.open();
        let Some(held) = open.row.open(AddressKey::of(client), self.limits.most_per_address) else {
            place.into_iter().for_each(|place| open.row.leave(place));
            drop(open);
            self.metrics.refused_address.add(1);
            self.complain("an address has as many as it may have (limits.max_connections_per_ip)");
            return Err(Refused::Address);
        };
        let Some(place) = place.or_else(|| self.find_place(&mut open)) else {
            open.row.close(held);
            drop(open);
            self.metrics.refused_full.add(1);
            self.complain("all are busy (limits.max_connections)");
            return Err(Refused::Full);
        };
        let number = open.next;
        let entry = Arc::new(Entry::filed(Arc::clone(&open.order), number));
        open.next += 1;
        open.members.insert(number, Member { entry: Arc::clone(&entry), place: Some(place) });
        self.seat.connection_opened();
        Ok(Pass { gate: Arc::clone(self), number, entry, held: Some(held) })
    }

    /// A place for one more: a free one, or that of the connection idle longest.
    fn find_place(&self, open: &mut Open) -> Option<Place> {
        // Those that got a request just before they were closed: they stay until it is answered.
        let returned = open.order.returned();
        if returned.is_empty()
            && let Some(place) = open.row.enter(self.limits.most)
        {
            return Some(place);
        }
        let giving_way = open.giving_way(returned.len() + 1, monotonic_us());
        if giving_way.len() <= returned.len() {
            return None;
        }
        let mut places = Vec::new();
        for number in giving_way {
            let Some(member) = open.members.get_mut(&number) else { continue };
            if !member.entry.is_closing() {
                member.entry.close();
                self.metrics.closed_for_room.add(1);
            }
            places.extend(member.place.take());
            member.entry.has_place(false);
        }
        for number in returned {
            if let Some(member) = open.members.get_mut(&number) {
                member.place = places.pop();
                member.entry.has_place(member.place.is_some());
            }
        }
        places.pop()
    }

    /// What is open now.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.open().members.values().map(|member| Arc::clone(&member.entry)).collect()
    }

    fn complain(&self, reason: &str) {
        let now_ms = monotonic_ms();
        let last_ms = self.complained_ms.load(Ordering::Relaxed);
        if last_ms == 0 || now_ms.saturating_sub(last_ms) >= COMPLAIN_EVERY_MS {
            self.complained_ms.store(now_ms, Ordering::Relaxed);
            tracing::warn!(reason, "Connections are refused.");
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// So many whose places others may have, or fewer if there are no more: first those that are closing and serve nothing, which
    /// are as good as gone, then those that are idle, the one idle longest first.
    fn giving_way(&mut self, wanted: usize, now_us: u64) -> Vec<u64> {
        let mut in_vain = 0;
        loop {
            let mut giving_way = Vec::new();
            let mut is_mended = false;
            for (since_us, number) in self.order.first(wanted + IN_VAIN_MAX, now_us) {
                if giving_way.len() == wanted || in_vain > IN_VAIN_MAX {
                    break;
                }
                #[cfg(test)]
                {
                    self.looks += 1;
                }
                let Some(member) = self.members.get(&number) else { continue };
                match member.entry.gives_way_since_us(now_us) {
                    Some(found_us) if found_us == since_us || in_vain == IN_VAIN_MAX => giving_way.push(number),
                    found => {
                        in_vain += 1;
                        if found.is_some() {
                            member.entry.file();
                            is_mended = true;
                            break;
                        }
                    }
                }
            }
            if !is_mended {
                return giving_way;
            }
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.gate.open().row.leave(place);
        }
    }
}

impl Pass {
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut open = self.gate.open();
        self.entry.gone();
        if let Some(place) = open.members.remove(&self.number).and_then(|member| member.place) {
            open.row.leave(place);
        }
        if let Some(held) = self.held.take() {
            open.row.close(held);
        }
        self.gate.seat.connection_closed();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::task::{Context, Waker};
    use std::time::Duration;

    use task_mcp_scoreboard::{Plan, Scoreboard};
    use task_mcp_telemetry::Metrics;

    use super::*;

    const SILENT: Duration = Duration::from_secs(1);

    /// The gate of a worker. The others of the same commons must be of other processes: see [`other`].
    fn gate(commons: &Commons, most: u64, most_per_address: u64) -> Arc<Gate> {
        let scoreboard = Scoreboard::create(&Plan { seats: 1, series: task_mcp_telemetry::plan(&[], &[]) }).unwrap();
        let seat = scoreboard.seat(0).unwrap();
        let metrics = Metrics::bind(&scoreboard, &seat, &[], &[]).unwrap().limits;
        let limits = ConnectionLimits {
            keep_alive: SILENT,
            headers_timeout: SILENT,
            disconnect_timeout: SILENT,
            idle_timeout: SILENT,
            most,
            most_per_address,
        };
        Gate::new(limits, &seat, commons, metrics).unwrap()
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// It has had a request and its answer.
    fn served(pass: &Pass) {
        let entry = pass.entry();
        entry.request_began();
        entry.answer_began();
        entry.answer_ended();
        entry.read_up(&Context::from_waker(Waker::noop()));
    }

    #[test]
    fn an_address_at_its_limit_is_refused_even_if_others_are_idle() {
        let gate = gate(&Commons::create().unwrap(), 10, 2);
        let passes: Vec<_> = (0..2).map(|_| gate.admit(address(1), None).unwrap()).collect();
        passes.iter().for_each(served);
        assert_eq!(gate.admit(address(1), None).unwrap_err(), Refused::Address);
        assert!(gate.admit(address(2), None).is_ok());
        assert!(passes.iter().all(|pass| !pass.entry().is_closing()));
        drop(passes);
        assert!(gate.admit(address(1), None).is_ok());
        assert_eq!(gate.seat.open_connections(), 0);
    }

    #[test]
    fn the_one_idle_longest_makes_room_and_busy_ones_never_do() {
        let gate = gate(&Commons::create().unwrap(), 3, 10);
        let [busy, long_idle, idle] = [0; 3].map(|_| gate.admit(address(1), None).unwrap());
        busy.entry().request_began();
        served(&long_idle);
        let then_us = monotonic_us();
        while monotonic_us() == then_us {}
        served(&idle);
        let fourth = gate.admit(address(2), None).unwrap();
        let closing = |passes: [&Pass; 3]| passes.map(|pass| pass.entry().is_closing());
        assert_eq!(closing([&busy, &long_idle, &idle]), [false, true, false]);
        let fifth = gate.admit(address(2), None).unwrap();
        assert_eq!(closing([&busy, &long_idle, &idle]), [false, true, true]);
        assert_eq!(gate.admit(address(2), None).unwrap_err(), Refused::Full, "who has just come is not idle yet");
        assert!(gate.open().row.open(AddressKey::of(address(2)), 2).is_none(), "a connection refused does not count");
        assert!(gate.open().row.open(AddressKey::of(address(2)), 3).is_some(), "and those let in do");
        drop((busy, fourth, fifth));
        assert!(gate.admit(address(2), None).is_ok());
    }

    #[test]
    fn one_that_is_closing_and_got_a_request_at_the_last_moment_counts() {
        let gate = gate(&Commons::create().unwrap(), 1, 10);
        let first = gate.admit(address(1), None).unwrap();
        served(&first);
        let second = gate.admit(address(1), None).unwrap();
        first.entry().request_began();
        served(&second);
        assert_eq!(gate.admit(address(1), None).unwrap_err(), Refused::Full);
        assert!(!second.entry().is_closing(), "it would not make room enough");
    }

    /// The row of a process that is not this one.
    fn other(commons: &Commons) -> AddressRow {
        commons.addresses().claim(std::process::id() + 1).unwrap()
    }

    #[test]
    fn all_workers_together_have_the_limit_and_one_alone_may_have_all_of_it() {
        let commons = Commons::create().unwrap();
        let (gate, mut other) = (gate(&commons, 4, 10), other(&commons));
        let mut passes: Vec<_> = (0..4).map(|_| gate.admit(address(1), None).unwrap()).collect();
        passes.iter().for_each(|pass| pass.entry().request_began());
        assert!(other.enter(4).is_none());
        passes.truncate(2);
        assert!((0..2).all(|_| other.enter(4).is_some()));
        assert_eq!(gate.admit(address(1), None).unwrap_err(), Refused::Full);
        served(&passes[1]);
        passes[1].entry().request_given_up();
        let third = gate.admit(address(1), None).unwrap();
        assert!(passes[1].entry().is_closing() && commons.addresses().total() == 4, "it took over a place");
        drop(passes.pop());
        assert_eq!(commons.addresses().total(), 4, "which is not given back twice");
        drop((passes, third));
        assert_eq!(commons.addresses().total(), 2, "the other's");
    }

    #[test]
    fn what_closes_anyway_makes_room_before_what_is_idle() {
        let commons = Commons::create().unwrap();
        let gate = gate(&commons, 2, 10);
        let [idle, swept] = [0; 2].map(|_| gate.admit(address(1), None).unwrap());
        [&idle, &swept].into_iter().for_each(served);
        swept.entry().close();
        let _third = gate.admit(address(1), None).unwrap();
        assert!(!idle.entry().is_closing());
        drop(swept);
        assert_eq!(commons.addresses().total(), 2);
    }

    #[test]
    fn room_for_what_is_not_accepted_yet_is_kept_for_it_and_closes_nothing() {
        let commons = Commons::create().unwrap();
        let (gate, mut other) = (gate(&commons, 2, 10), other(&commons));
        let reserved = gate.reserve().unwrap();
        let first = gate.admit(address(1), None).unwrap();
        first.entry().request_began();
        assert!(other.enter(2).is_none() && gate.reserve().is_none(), "it is kept");
        let second = gate.admit(address(1), Some(reserved)).unwrap();
        assert!(gate.reserve().is_none(), "all are busy");
        served(&second);
        let reserved = gate.reserve();
        assert!(reserved.is_some() && !second.entry().is_closing());
        let third = gate.admit(address(1), reserved).unwrap();
        assert!(second.entry().is_closing());
        drop((second, third));
        drop(gate.reserve().unwrap());
        assert_eq!(commons.addresses().total(), 1, "what is not used is given back");
    }

    #[test]
    fn room_that_was_kept_for_one_whose_address_has_too_many_is_free_again() {
        let commons = Commons::create().unwrap();
        let gate = gate(&commons, 5, 1);
        let _first = gate.admit(address(1), None).unwrap();
        let reserved = gate.reserve();
        assert_eq!(commons.addresses().total(), 2);
        assert_eq!(gate.admit(address(1), reserved).unwrap_err(), Refused::Address);
        assert_eq!(commons.addresses().total(), 1);
    }

    #[test]
    fn at_the_limit_a_few_are_looked_at_however_many_are_open() {
        const OPEN: usize = 10_000;
        let gate = gate(&Commons::create().unwrap(), OPEN as u64, u64::MAX);
        let passes: Vec<_> = (0..OPEN).map(|_| gate.admit(address(1), None).unwrap()).collect();
        passes.iter().for_each(served);
        // Of these what is known is out of date: bytes were written after the answer had ended.
        passes[..20].iter().for_each(|pass| pass.entry().progressed());
        let come: Vec<_> = (0..300).map(|_| gate.admit(address(2), None).unwrap()).collect();
        let looks = gate.open().looks;
        assert!((300..=340).contains(&looks), "{looks}");
        let closing = |passes: &[Pass]| passes.iter().filter(|pass| pass.entry().is_closing()).count();
        assert_eq!([&passes[..20], &passes[20..320], &passes[320..]].map(closing), [0, 300, 0]);
        passes
            .iter()
            .chain(&come)
            .filter(|pass| !pass.entry().is_closing())
            .for_each(|pass| pass.entry().request_began());
        for _ in 0..100 {
            assert_eq!(gate.admit(address(2), None).unwrap_err(), Refused::Full);
        }
        assert_eq!(gate.open().looks, looks, "where all are busy, none is looked at");
        drop((passes, come));
        assert!(gate.open().order.first(1, u64::MAX).is_empty(), "who has ended is in no list");
    }
}
