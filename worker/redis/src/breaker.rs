//! When a server is left alone. Decisions only: no clock, no connection.

use std::time::Instant;

/// What counts against a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It could not be connected to. A connection that is made is all the proof it needs.
    Unreachable,
    /// It is there, and does not do its work: no answer in time, an error, a connection that breaks. Only a command that succeeds
    /// is proof.
    Unfit,
}

/// What a change of the breaker is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    Opened { failures: u32 },
    Closed,
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Ask.
    Free,
    /// Ask, as the one on whose answer it depends whether others may.
    Trial,
    /// Not ask.
    Refused { failures: u32 },
}

/// Whether commands are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Yes.
    Closed,
    /// No: it failed too often in a row.
    Open,
    /// It can be connected to again; one command at a time is tried.
    Trial,
}

/// Counts failures in a row.
#[derive(Debug)]
pub(crate) struct Breaker {
    limit: u32,
    failures: u32,
    counted_at: Option<Instant>,
    last: Fault,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open,
    Trial { under_way: bool },
}

impl Breaker {
    /// Closed; `limit` failures in a row open it.
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, failures: 0, counted_at: None, last: Fault::Unreachable, state: State::Closed }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open => BreakerState::Open,
            State::Trial { .. } => BreakerState::Trial,
        }
    }

    pub(crate) fn admit(&mut self) -> Admission {
        match self.state {
            State::Closed => Admission::Free,
            State::Trial { under_way: false } => {
                self.state = State::Trial { under_way: true };
                Admission::Trial
            }
            State::Open | State::Trial { under_way: true } => Admission::Refused { failures: self.failures },
        }
    }

    /// Something begun at `began` failed. Failures that overlap are one: a hundred calls that meet the same short pause of a
    /// server say no more than one of them.
    pub(crate) fn failed(&mut self, began: Instant, now: Instant, fault: Fault) -> Option<Transition> {
        if self.counted_at.is_some_and(|counted_at| began < counted_at) {
            return None;
        }
        self.counted_at = Some(now);
        self.last = fault;
        self.failures = self.failures.saturating_add(1);
        match self.state {
            State::Closed if self.failures >= self.limit => {
                self.state = State::Open;
                Some(Transition::Opened { failures: self.failures })
            }
            State::Closed | State::Open => None,
            State::Trial { .. } => {
                self.state = State::Open;
                None
            }
        }
    }

    /// A command was answered.
    pub(crate) fn answered(&mut self, admission: Admission) -> Option<Transition> {
        match (self.state, admission) {
            (State::Closed, _) => {
                self.failures = 0;
                None
            }
            (State::Trial { .. }, Admission::Trial) => Some(self.close()),
            // Sent before it opened: late, and no proof.
            _ => None,
        }
    }

    /// A trial ended without an outcome: its caller went away, or there was nothing to try it on.
    pub(crate) fn abandoned(&mut self) {
        if let State::Trial { .. } = self.state {
            self.state = State::Trial { under_way: false };
        }
    }

    /// A connection was made and answers.
    pub(crate) fn connected(&mut self) -> Option<Transition> {
        match (self.state, self.last) {
            (State::Open, Fault::Unreachable) => Some(self.close()),
            (State::Open, Fault::Unfit) => {
                self.state = State::Trial { under_way: false };
                None
            }
            _ => None,
        }
    }

    /// The connection is well and nobody has tried it for a while: there is nothing to hold against it.
    pub(crate) fn idle(&mut self) -> Option<Transition> {
        (self.state == State::Trial { under_way: false }).then(|| self.close())
    }

    fn close(&mut self) -> Transition {
        self.state = State::Closed;
        self.failures = 0;
        Transition::Closed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn open(breaker: &mut Breaker, start: Instant, fault: Fault) {
        assert_eq!(breaker.failed(start, at(start, 1), fault), None);
        assert_eq!(breaker.failed(at(start, 2), at(start, 3), fault), Some(Transition::Opened { failures: 2 }));
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_breaks_the_row() {
        let (mut breaker, start) = (Breaker::new(2), Instant::now());
        assert_eq!(breaker.failed(start, at(start, 1), Fault::Unfit), None);
        assert_eq!(breaker.answered(Admission::Free), None);
        open(&mut breaker, at(start, 10), Fault::Unfit);
        assert_eq!(breaker.admit(), Admission::Refused { failures: 2 });
    }

    #[test]
    fn failures_that_overlap_are_one() {
        let (mut breaker, start) = (Breaker::new(2), Instant::now());
        for _ in 0..100 {
            assert_eq!(breaker.failed(start, at(start, 20), Fault::Unfit), None);
        }
        assert!(breaker.failed(at(start, 20), at(start, 40), Fault::Unfit).is_some());
    }

    #[test]
    fn a_connection_proves_a_server_that_could_not_be_reached() {
        let (mut breaker, start) = (Breaker::new(2), Instant::now());
        open(&mut breaker, start, Fault::Unreachable);
        assert_eq!(breaker.connected(), Some(Transition::Closed));
        assert_eq!(breaker.admit(), Admission::Free);
    }

    #[test]
    fn a_trial_nobody_makes_ends_by_itself() {
        let (mut breaker, start) = (Breaker::new(2), Instant::now());
        open(&mut breaker, start, Fault::Unfit);
        assert_eq!(breaker.idle(), None, "there is no connection");
        assert_eq!(breaker.connected(), None);
        assert_eq!(breaker.idle(), Some(Transition::Closed));
        assert_eq!(breaker.idle(), None);
    }

    #[test]
    fn only_an_answer_proves_a_server_that_did_not_do_its_work() {
        let (mut breaker, start) = (Breaker::new(2), Instant::now());
        open(&mut breaker, start, Fault::Unfit);
        assert_eq!(breaker.connected(), None);
        assert_eq!(breaker.admit(), Admission::Trial);
        assert_eq!(breaker.admit(), Admission::Refused { failures: 2 });
        assert_eq!(breaker.failed(at(start, 10), at(start, 11), Fault::Unfit), None, "no second line in the log");
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.connected(), None);
        assert_eq!(breaker.admit(), Admission::Trial);
        breaker.abandoned();
        assert_eq!(breaker.admit(), Admission::Trial);
        assert_eq!(breaker.answered(Admission::Free), None, "an answer to what was sent before");
        assert_eq!(breaker.idle(), None, "it is being tried");
        assert_eq!(breaker.answered(Admission::Trial), Some(Transition::Closed));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
