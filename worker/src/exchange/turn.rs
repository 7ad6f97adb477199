//! Which of several streams of a session speaks.
//!
//! A message goes to one stream of a session (specification 2025-11-25, "Streamable HTTP", multiple connections), and the streams may be
//! at different workers. The youngest one speaks. Each says over the bus when it opens and when it goes; a silent one asks from time
//! to time whether the speaker is still there, so that one whose worker was killed is followed by another. Who takes over waits a
//! moment before it speaks, so that no two do at once, and tells everything then: nobody knows what the one before has told.

use std::time::Duration;

use tokio::time::Instant;

/// How long who takes over waits, for others to hear of it.
const SETTLE: Duration = Duration::from_millis(100);
/// How often a silent stream asks: one event of the bus, and one that answers.
const ASK: Duration = Duration::from_secs(2);
/// How long a speaker may say nothing to that.
const SILENCE: Duration = Duration::from_secs(5);

/// The place of one stream among those of its session.
#[derive(Debug)]
pub(crate) struct Turn {
    me: u128,
    state: State,
    /// It has taken over, and that was not asked yet.
    has_succeeded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It speaks from then on.
    Speaks(Instant),
    /// Another speaks, who was last heard then; this one asks at `ask`.
    Silent { speaker: u128, heard: Instant, ask: Instant },
}

impl Turn {
    /// A stream that opens; what it says.
    pub(crate) fn open(me: u128, now: Instant) -> (Self, String) {
        let turn = Self { me, state: State::Speaks(now + SETTLE), has_succeeded: false };
        let here = turn.here();
        (turn, here)
    }

    /// A stream says something: what this one says to it.
    pub(crate) fn hear(&mut self, said: &str, now: Instant) -> Option<String> {
        let (word, id) = said.split_once(' ').unwrap_or((said, ""));
        let id = u128::from_str_radix(id, 16).unwrap_or(0);
        match (word, self.state) {
            ("here", State::Speaks(_)) if id > self.me => self.listen(id, now),
            ("here", State::Speaks(_)) if id < self.me => Some(self.here()),
            ("here", State::Silent { speaker, .. }) if id >= speaker => self.listen(id, now),
            ("ask", State::Speaks(_)) => Some(self.here()),
            ("gone", State::Silent { speaker, .. }) if id == speaker => self.take_over(now),
            _ => None,
        }
    }

    /// Something may have been missed: what this one says.
    pub(crate) fn resync(&self) -> String {
        match self.state {
            State::Speaks(_) => self.here(),
            State::Silent { .. } => "ask".to_owned(),
        }
    }

    /// When [`tick`](Self::tick) is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Speaks(_) => None,
            State::Silent { ask, .. } => Some(ask),
        }
    }

    /// Time has passed: what this one says.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<String> {
        let State::Silent { speaker, heard, ask } = self.state else { return None };
        if now.duration_since(heard) >= SILENCE {
            return self.take_over(now);
        }
        if now < ask {
            return None;
        }
        self.state = State::Silent { speaker, heard, ask: now + ASK };
        Some("ask".to_owned())
    }

    /// From when on it speaks, if it does.
    pub(crate) fn speaks_from(&self) -> Option<Instant> {
        match self.state {
            State::Speaks(from) => Some(from),
            State::Silent { .. } => None,
        }
    }

    /// Whether it has taken over since this was asked last: what happened meanwhile may have been told to nobody.
    pub(crate) fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.has_succeeded)
    }

    /// What it says when it goes.
    pub(crate) fn gone(&self) -> String {
        format!("gone {:x}", self.me)
    }

    fn here(&self) -> String {
        format!("here {:x}", self.me)
    }

    fn listen(&mut self, speaker: u128, now: Instant) -> Option<String> {
        self.state = State::Silent { speaker, heard: now, ask: now + ASK };
        None
    }

    fn take_over(&mut self, now: Instant) -> Option<String> {
        self.state = State::Speaks(now + SETTLE);
        self.has_succeeded = true;
        Some(self.here())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams that all hear what each says; those in `dead` say and hear nothing.
    struct Session(Vec<Turn>);

    impl Session {
        fn open(&mut self, me: u128, now: Instant) {
            let (turn, said) = Turn::open(me, now);
            self.0.push(turn);
            self.say(said, now);
        }

        fn say(&mut self, said: String, now: Instant) {
            let mut waiting = vec![said];
            for _ in 0..100 {
                let Some(said) = waiting.pop() else { return };
                waiting.extend(self.0.iter_mut().filter_map(|turn| turn.hear(&said, now)));
            }
            panic!("they never stop talking");
        }

        fn speakers(&self, now: Instant) -> Vec<u128> {
            let speaks = |turn: &&Turn| turn.speaks_from().is_some_and(|from| from <= now);
            self.0.iter().filter(speaks).map(|turn| turn.me).collect()
        }
    }

    #[test]
    fn one_speaks_whoever_comes_and_goes() {
        let mut now = Instant::now();
        let mut session = Session(Vec::new());
        session.open(5, now);
        assert_eq!(session.speakers(now), [], "others are still to hear of it");
        now += SETTLE;
        assert_eq!(session.speakers(now), [5]);
        session.open(9, now);
        assert_eq!(session.speakers(now), [], "neither speaks while they change");
        now += SETTLE;
        assert_eq!(session.speakers(now), [9]);
        session.open(7, now);
        now += SETTLE;
        assert_eq!(session.speakers(now), [9], "a clock that is slow changes nothing");
        let gone = session.0.remove(1).gone();
        session.say(gone, now);
        now += SETTLE;
        assert_eq!(session.speakers(now), [7]);
        assert!(session.0[1].succeeded());
        assert!(!session.0[1].succeeded(), "it is told once");
    }

    #[test]
    fn a_speaker_that_was_killed_is_followed_and_one_that_lives_is_not() {
        let mut now = Instant::now();
        let mut session = Session(Vec::new());
        session.open(5, now);
        session.open(9, now);
        for _ in 0..100 {
            now += ASK;
            let said = session.0[0].tick(now).unwrap();
            session.say(said, now);
            assert_eq!(session.speakers(now), [9]);
        }
        session.0.remove(1);
        for _ in 0..4 {
            now += ASK;
            if let Some(said) = session.0[0].tick(now) {
                session.say(said, now);
            }
        }
        assert_eq!(session.speakers(now), [5]);
        assert!(session.0[0].succeeded());
        assert_eq!(session.0[0].resync(), "here 5");
    }
}
