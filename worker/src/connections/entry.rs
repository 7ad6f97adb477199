//! What is known of one open connection.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::task::AtomicWaker;
use task_mcp_scoreboard::monotonic_us;
use tokio::sync::Notify;

use super::order::{GREETING_US, Order, Slot};

/// What is known of one open connection. All of it is touched by the thread that serves; atomics, because what the requests of a
/// worker share can be shared between threads.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Requests whose head has arrived and whose answer has not begun.
    waiting: AtomicU32,
    /// Answers that were not handed over in full.
    answering: AtomicU32,
    /// When bytes were last written, or a request began or ended.
    progress_us: AtomicU64,
    /// All that had arrived was read.
    is_read_up: AtomicBool,
    /// It has had a request.
    has_served: AtomicBool,
    /// No further request is read.
    is_closing: AtomicBool,
    reader: AtomicWaker,
    ended: Notify,
    /// `None` for one that gives way to nobody.
    filed: Option<Filed>,
}

/// Where a connection is in the order of those that give way.
#[derive(Debug)]
struct Filed {
    order: Arc<Order>,
    number: u64,
    /// It counts; `false` once another has its place.
    has_place: AtomicBool,
    /// It has ended.
    is_gone: AtomicBool,
    slot: Mutex<Option<Slot>>,
}

impl Entry {
    /// One that gives way to nobody.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::of(None)
    }

    /// The connection of that number, with a place of its own.
    pub(super) fn filed(order: Arc<Order>, number: u64) -> Self {
        let (has_place, is_gone) = (AtomicBool::new(true), AtomicBool::new(false));
        let entry = Self::of(Some(Filed { order, number, has_place, is_gone, slot: Mutex::default() }));
        entry.file();
        entry
    }

    fn of(filed: Option<Filed>) -> Self {
        Self {
            waiting: AtomicU32::new(0),
            answering: AtomicU32::new(0),
            progress_us: AtomicU64::new(monotonic_us()),
            is_read_up: AtomicBool::new(false),
            has_served: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            ended: Notify::new(),
            filed,
        }
    }

    /// The head of a request has arrived.
    pub(crate) fn request_began(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.has_served.store(true, Ordering::Relaxed);
        self.progressed();
        self.file();
    }

    /// A request will have no answer: its client left.
    pub(crate) fn request_given_up(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.file();
    }

    /// The answer of a request begins.
    pub(crate) fn answer_began(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.answering.fetch_add(1, Ordering::Relaxed);
        self.progressed();
    }

    /// The last byte of an answer was handed over, or its client left.
    pub(crate) fn answer_ended(&self) {
        self.answering.fetch_sub(1, Ordering::Relaxed);
        self.progressed();
        self.file();
    }

    /// A request waits for its answer, which is what the deadline of its tool limits.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// An answer is under way.
    pub(crate) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed) > 0
    }

    /// A request is served.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_waited_for() || self.is_answering()
    }

    /// No further request is read.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Since when the connection waits for a request, if it does: since it connected or its last answer was out, until the head of a
    /// request is there in full. Who sends one by the byte is idle as who sends nothing. Whatever it sent was read, and whoever has
    /// just connected has had time to say what it wants.
    pub(crate) fn idle_since_us(&self, now_us: u64) -> Option<u64> {
        let since_us = self.progress_us();
        let greeted = self.has_served.load(Ordering::Relaxed) || since_us + GREETING_US <= now_us;
        let is_idle = !self.is_busy() && !self.is_closing() && self.is_read_up.load(Ordering::Relaxed) && greeted;
        is_idle.then_some(since_us)
    }

    /// Since when it would give way to another; 0 if it closes anyway.
    pub(super) fn gives_way_since_us(&self, now_us: u64) -> Option<u64> {
        if self.is_closing() { (!self.is_busy()).then_some(0) } else { self.idle_since_us(now_us) }
    }

    /// Another has its place, or it has got one again.
    pub(super) fn has_place(&self, has_place: bool) {
        if let Some(filed) = &self.filed {
            filed.has_place.store(has_place, Ordering::Relaxed);
        }
        self.file();
    }

    /// It has ended, and gives way no more.
    pub(super) fn gone(&self) {
        if let Some(filed) = &self.filed {
            filed.is_gone.store(true, Ordering::Relaxed);
        }
        self.file();
    }

    /// Puts it where it belongs in the order of those that give way.
    pub(super) fn file(&self) {
        let Some(filed) = &self.filed else { return };
        let mut slot = filed.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let belongs = self.slot(filed);
        if *slot != belongs {
            filed.order.change(filed.number, *slot, belongs);
            *slot = belongs;
        }
    }

    fn slot(&self, filed: &Filed) -> Option<Slot> {
        if filed.is_gone.load(Ordering::Relaxed) {
            return None;
        }
        match (self.is_busy(), filed.has_place.load(Ordering::Relaxed)) {
            (true, false) => Some(Slot::Returned),
            (true, true) | (false, false) => None,
            (false, true) if self.is_closing() => Some(Slot::Waiting(0)),
            (false, true) if self.has_served.load(Ordering::Relaxed) => Some(Slot::Waiting(self.progress_us())),
            (false, true) => Some(Slot::Greeting(self.progress_us())),
        }
    }

    /// When anything last happened that is more than bytes of a request on their way.
    pub(crate) fn progress_us(&self) -> u64 {
        self.progress_us.load(Ordering::Relaxed)
    }

    /// Reads no further request: what has arrived is served, then the connection ends.
    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        self.file();
        self.reader.wake();
    }

    /// Ends the connection where it is.
    pub(crate) fn end(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        self.file();
        self.ended.notify_one();
    }

    /// Returns once the connection is to end where it is.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Bytes were written.
    pub(super) fn progressed(&self) {
        self.progress_us.store(monotonic_us(), Ordering::Relaxed);
    }

    /// Bytes were read.
    pub(super) fn read(&self) {
        self.is_read_up.store(false, Ordering::Relaxed);
    }

    /// Nothing is there to be read; the task of this context is woken when that is to change.
    pub(super) fn read_up(&self, cx: &std::task::Context<'_>) {
        self.is_read_up.store(true, Ordering::Relaxed);
        self.reader.register(cx.waker());
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_connection_is_idle_between_requests_and_after_a_silent_second() {
        let entry = Entry::new();
        let connected_us = entry.progress_us();
        let later_us = connected_us + 60_000_000;
        let silent = Context::from_waker(Waker::noop());
        assert_eq!(entry.idle_since_us(later_us), None, "what it sent was not looked at yet");
        entry.read_up(&silent);
        assert_eq!(entry.idle_since_us(connected_us + GREETING_US - 1), None);
        assert_eq!(entry.idle_since_us(later_us), Some(connected_us));
        entry.read();
        entry.request_began();
        entry.read_up(&silent);
        assert_eq!(entry.idle_since_us(later_us), None);
        entry.answer_began();
        assert!(entry.is_answering() && !entry.is_waited_for() && entry.idle_since_us(later_us).is_none());
        entry.answer_ended();
        assert!(entry.idle_since_us(connected_us).is_some(), "between requests no grace is needed");
        entry.close();
        assert_eq!(entry.idle_since_us(later_us), None, "it has been asked already");
    }

    #[test]
    fn who_sends_a_head_by_the_byte_is_idle_all_the_same() {
        let entry = Entry::new();
        let connected_us = entry.progress_us();
        for _ in 0..3 {
            let then_us = monotonic_us();
            while monotonic_us() == then_us {}
            entry.read();
            assert_eq!(entry.idle_since_us(connected_us + GREETING_US), None, "what it sent is looked at first");
            entry.read_up(&Context::from_waker(Waker::noop()));
        }
        assert_eq!(entry.idle_since_us(connected_us + GREETING_US), Some(connected_us));
    }
}
