//! What is counted of each worker slot.

use task_mcp_scoreboard::{Counter, Gauge, Kind, Scoreboard, Seat, Series};

use crate::step::{Post, State};

/// Generation of the slot's process, or of the last one while there is none; 0 as long as the slot does not exist.
const GENERATION: &str = "task_mcp_slot_generation";
/// Connections that wait in the slot's sockets.
const QUEUE_LENGTH: &str = "task_mcp_slot_queue_length";
/// Whether the slot's breaker is open.
const BREAKER_OPEN: &str = "task_mcp_slot_breaker_open";
/// Processes that were started for the slot.
const STARTS: &str = "task_mcp_slot_starts_total";
/// Processes that were started in the place of another.
const RESTARTS: &str = "task_mcp_slot_restarts_total";
/// Time without a worker that serves.
const PARKED: &str = "task_mcp_slot_parked_seconds_total";

const SLOT: &str = "slot";
/// What costs a system call for each socket or process is looked at this often, in milliseconds.
const SAMPLE_MS: u64 = 1_000;
const NS_PER_MS: u64 = 1_000_000;

/// The series of so many slots, for the plan of the scoreboard. Those of a slot that does not exist are not shown; what was
/// counted of one that was closed is.
pub(super) fn series(slots: u16) -> Vec<Series> {
    let families: [(&str, &str, Kind, Option<&str>); 6] = [
        (
            GENERATION,
            "Generation of the process that has the slot, or of the last one while there is none.",
            Kind::Gauge,
            None,
        ),
        (
            QUEUE_LENGTH,
            "Connections that wait in the sockets of the slot to be accepted; read once a second.",
            Kind::Gauge,
            Some(GENERATION),
        ),
        (
            BREAKER_OPEN,
            "1 while the processes of the slot died early too often and are tried only now and then, else 0.",
            Kind::Gauge,
            Some(GENERATION),
        ),
        (STARTS, "Processes started for the slot.", Kind::Counter, None),
        (
            RESTARTS,
            "Processes started for the slot in the place of another, dead or replaced.",
            Kind::Counter,
            Some(STARTS),
        ),
        (
            PARKED,
            "Time in which the slot had no worker that serves, so that new connections went to others.",
            Kind::Time,
            Some(STARTS),
        ),
    ];
    let all = families.into_iter().flat_map(|(name, help, kind, shown_with)| {
        (0..slots).map(move |slot| Series {
            name: name.into(),
            help: help.into(),
            kind: kind.clone(),
            labels: vec![(SLOT.into(), slot.to_string())],
            omit_zero: shown_with.is_none(),
            shown_with: shown_with.map(str::to_owned),
        })
    });
    all.collect()
}

/// Handles on the series above.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    /// When the slots were last looked at.
    at_ms: Option<u64>,
    /// When what costs a system call for each socket or process was last looked at.
    sampled_ms: Option<u64>,
}

#[derive(Debug)]
struct Slot {
    generation: Gauge,
    queue_length: Gauge,
    breaker_open: Gauge,
    starts: Counter,
    restarts: Counter,
    parked: Counter,
    /// Whether it was without a worker that serves at the last look.
    is_parked: bool,
}

impl Slots {
    /// Finds the series of slot 0 and up, as many as were planned.
    pub(super) fn new(scoreboard: &Scoreboard, own: &Seat) -> Self {
        let one = |slot: u16| {
            let (label, find) = (slot.to_string(), |name, label: &str| scoreboard.find(name, &[(SLOT, label)]));
            let gauge = |name| own.gauge(find(name, &label)?);
            let counter = |name| own.counter(find(name, &label)?);
            Some(Slot {
                generation: gauge(GENERATION)?,
                queue_length: gauge(QUEUE_LENGTH)?,
                breaker_open: gauge(BREAKER_OPEN)?,
                starts: counter(STARTS)?,
                restarts: counter(RESTARTS)?,
                parked: counter(PARKED)?,
                is_parked: false,
            })
        };
        Self { slots: (0..).map_while(one).collect(), at_ms: None, sampled_ms: None }
    }

    /// A process was started for a slot.
    pub(super) fn started(&self, slot: u16, restart: bool) {
        if let Some(slot) = self.slots.get(usize::from(slot)) {
            slot.starts.add(1);
            slot.restarts.add(u64::from(restart));
        }
    }

    /// Takes over what the slots are doing now; what they did until now counts as they were at the last look.
    pub(super) fn look(&mut self, state: &State, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.at_ms.replace(now_ms).unwrap_or(now_ms));
        for slot in self.slots.iter_mut().filter(|slot| slot.is_parked) {
            slot.parked.add(passed_ms * NS_PER_MS);
        }
        let mut open = 0;
        for report in state.report() {
            let Post::Worker(number) = report.post else { continue };
            let Some(slot) = self.slots.get_mut(usize::from(number)) else { continue };
            open = open.max(usize::from(number) + 1);
            slot.is_parked = !report.serves && !state.drains();
            slot.breaker_open.set(i64::from(report.is_broken));
            if let Some(generation) = report.generation {
                slot.generation.set(generation as i64);
            }
        }
        for slot in self.slots.iter_mut().skip(open).filter(|slot| slot.generation.get() != 0) {
            slot.is_parked = false;
            [&slot.generation, &slot.breaker_open, &slot.queue_length].into_iter().for_each(|gauge| gauge.set(0));
        }
    }

    /// Whether what costs a system call is to be looked at; once a second.
    pub(super) fn sample_due(&mut self, now_ms: u64) -> bool {
        let due = self.sampled_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) >= SAMPLE_MS);
        if due {
            self.sampled_ms = Some(now_ms);
        }
        due
    }

    /// What waits in the sockets of a slot.
    pub(super) fn queue(&self, slot: u16, waiting: u32) {
        if let Some(slot) = self.slots.get(usize::from(slot)) {
            slot.queue_length.set(i64::from(waiting));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use task_mcp_scoreboard::{Plan, Sample};

    use super::*;
    use crate::step::{Event, POLICY, Policy, step};

    struct Bench {
        scoreboard: Scoreboard,
        slots: Slots,
        state: State,
    }

    impl Bench {
        fn new() -> Self {
            let scoreboard = Scoreboard::create(&Plan { seats: 1, series: series(3) }).unwrap();
            let slots = Slots::new(&scoreboard, &scoreboard.seat(0).unwrap());
            Self { scoreboard, slots, state: State::new(Policy { restart_limit: 1, ..POLICY }, 1, 7) }
        }

        fn event(&mut self, event: Event, now_ms: u64) {
            step(&mut self.state, event, now_ms);
            self.slots.look(&self.state, now_ms);
        }

        fn of(&self, name: &str) -> [i64; 3] {
            ["0", "1", "2"].map(|slot| {
                match self.scoreboard.total(self.scoreboard.find(name, &[(SLOT, slot)]).unwrap()).unwrap() {
                    Sample::Counter(value) => value as i64,
                    Sample::Gauge(value) => value,
                    Sample::Histogram { .. } => panic!("{name} is no histogram"),
                }
            })
        }
    }

    #[test]
    fn a_slot_is_parked_from_its_start_to_ready_and_from_death_to_ready() {
        let mut bench = Bench::new();
        bench.event(Event::Start, 1_000);
        bench.event(Event::Ready { generation: 1 }, 1_250);
        bench.event(Event::Tick, 3_000);
        assert_eq!(bench.of(PARKED), [250_000_000, 2_000_000_000, 0]);
        assert_eq!((bench.of(GENERATION), bench.of(BREAKER_OPEN)), ([1, 2, 0], [0, 0, 0]));
        bench.event(Event::Exited { generation: 1, code: None, lost: 0 }, 4_000);
        bench.event(Event::Exited { generation: 2, code: None, lost: 0 }, 4_000);
        assert_eq!(bench.of(GENERATION), [4, 2, 0], "the last one of a slot without a process");
        assert_eq!(bench.of(BREAKER_OPEN), [0, 1, 0]);
        bench.event(Event::Ready { generation: 4 }, 4_300);
        bench.event(Event::Stop, 5_000);
        bench.event(Event::Tick, 9_000);
        assert_eq!(bench.of(PARKED), [550_000_000, 4_000_000_000, 0], "a drain parks nobody");
    }

    #[test]
    fn gauges_of_a_closed_slot_are_taken_back_and_counters_stay() {
        let mut bench = Bench::new();
        bench.event(Event::Start, 0);
        (0..2).for_each(|slot| bench.slots.started(slot, slot == 1));
        bench.slots.queue(1, 9);
        (1..=3).for_each(|generation| bench.event(Event::Ready { generation }, 100));
        bench.event(Event::ScaleTo { workers: 1 }, 2_000);
        bench.event(Event::Queue { slot: 1, waiting: 0 }, 2_000);
        bench.event(Event::Tick, 3_000);
        assert_eq!((bench.of(QUEUE_LENGTH), bench.of(GENERATION)), ([0, 9, 0], [1, 2, 0]));
        bench.event(Event::Exited { generation: 2, code: Some(0), lost: 0 }, 4_000);
        assert_eq!((bench.of(QUEUE_LENGTH), bench.of(GENERATION)), ([0, 0, 0], [1, 0, 0]));
        assert_eq!((bench.of(STARTS), bench.of(RESTARTS)), ([1, 1, 0], [0, 1, 0]));
        bench.event(Event::Tick, 9_000);
        assert_eq!(bench.of(PARKED)[1], 1_100_000_000, "until it was ready, and while it drained");
    }

    #[test]
    fn samples_are_taken_once_a_second() {
        let mut slots = Slots::default();
        let due = [0, 1, 999, 1_000, 1_001, 5_000].map(|now_ms| slots.sample_due(now_ms));
        assert_eq!(due, [true, false, false, true, false, true]);
    }
}
