//! A call that is driven by whoever reads what it tells: when the reader goes, the call does.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;

use super::outlet::{Emission, Emissions, Outlet};

/// Steps that are taken at once, before the thread does something else: a call that tells fast to one who reads fast would have the
/// thread for itself. With pieces of 64 KiB it is half a mebibyte, which takes a few milliseconds at most.
const STEPS_AT_ONCE: u32 = 8;

/// A call with what comes out of its outlet.
pub(crate) struct Driven<T> {
    /// `None` once it has ended, and for a stream that somebody else fills.
    call: Option<LocalBoxFuture<'static, T>>,
    outcome: Option<T>,
    emissions: Emissions,
    /// Steps since the thread could do something else.
    steps: u32,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Step<T> {
    /// Something the call has told.
    Emitted(Emission),
    /// All was told, and the call has ended.
    Done(T),
    /// Whoever filled the stream has ended it.
    Ended,
}

impl<T: Unpin + 'static> Driven<T> {
    /// A call and its outlet.
    pub(crate) fn new(call: LocalBoxFuture<'static, T>, emissions: Emissions) -> Self {
        Self { call: Some(call), outcome: None, emissions, steps: 0 }
    }

    /// A stream without an answer: it ends when `fills`, which fills it through `outlet`, does.
    pub(crate) fn until(fills: LocalBoxFuture<'static, ()>, outlet: Outlet, emissions: Emissions) -> Self {
        let call = async move {
            fills.await;
            outlet.finish();
            std::future::pending().await
        };
        Self::new(Box::pin(call), emissions)
    }

    /// What somebody else fills.
    pub(crate) fn filled(emissions: Emissions) -> Self {
        Self { call: None, outcome: None, emissions, steps: 0 }
    }

    /// The same with another outcome.
    pub(crate) fn map<U: Unpin + 'static>(self, change: impl FnOnce(T) -> U + 'static) -> Driven<U> {
        let Self { call, outcome, emissions, steps } = self;
        match (call, outcome) {
            (Some(call), _) => {
                let call = Box::pin(async move { change(call.await) });
                Driven { call: Some(call), outcome: None, emissions, steps }
            }
            (None, outcome) => Driven { call: None, outcome: outcome.map(change), emissions, steps },
        }
    }

    /// The next step. What the call tells on its way comes before its end.
    pub(crate) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step<T>> {
        if self.steps >= STEPS_AT_ONCE {
            self.steps = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let step = self.poll_next(cx);
        self.steps = if step.is_ready() { self.steps + 1 } else { 0 };
        step
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Step<T>> {
        if let Some(call) = &mut self.call
            && let Poll::Ready(outcome) = Pin::new(call).poll(cx)
        {
            self.call = None;
            self.outcome = Some(outcome);
        }
        match self.emissions.poll_next(cx) {
            Poll::Ready(Some(emission)) => Poll::Ready(Step::Emitted(emission)),
            told => match self.outcome.take() {
                Some(outcome) => Poll::Ready(Step::Done(outcome)),
                None if told.is_ready() => Poll::Ready(Step::Ended),
                None => Poll::Pending,
            },
        }
    }

    /// The next step. Cancel-safe.
    pub(crate) async fn step(&mut self) -> Step<T> {
        poll_fn(|cx| self.poll_step(cx)).await
    }
}

#[cfg(test)]
mod tests {
    use actix_web::web::Bytes;
    use futures_util::poll;

    use super::super::outlet::Terms;
    use super::*;

    #[tokio::test]
    async fn what_is_told_on_the_way_comes_before_the_end_and_others_get_their_turn() {
        let (outlet, emissions) = Outlet::open(Terms { waiting_bytes: 1 << 20, messages: true, ..Terms::default() });
        let call = async move {
            for _ in 0..STEPS_AT_ONCE * 3 {
                outlet.push(Bytes::from_static(b"x"));
            }
            7
        };
        let mut driven = Driven::new(Box::pin(call), emissions);
        let (mut told, mut turns) = (0, 0);
        let done = loop {
            let step = std::pin::pin!(driven.step());
            match poll!(step) {
                Poll::Ready(Step::Emitted(_)) => told += 1,
                Poll::Ready(Step::Done(outcome)) => break outcome,
                Poll::Ready(Step::Ended) => panic!("the call has an outcome"),
                Poll::Pending => turns += 1,
            }
        };
        assert_eq!((done, told, turns), (7, STEPS_AT_ONCE * 3, 3));
    }

    #[tokio::test]
    async fn a_stream_without_an_answer_ends_with_whoever_fills_it() {
        let (outlet, emissions) = Outlet::open(Terms { waiting_bytes: 1 << 20, messages: true, ..Terms::default() });
        let filled = outlet.clone();
        let fills = async move { drop(filled.push(Bytes::from_static(b"x"))) };
        let mut driven: Driven<()> = Driven::until(Box::pin(fills), outlet, emissions);
        assert!(matches!(driven.step().await, Step::Emitted(_)));
        assert!(matches!(driven.step().await, Step::Ended));
    }
}
