//! A call that is driven by whoever reads what it tells: when the reader goes, the call does.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;

use super::outlet::{Emission, Emissions, Outlet};

/// A call with what comes out of its outlet.
pub(crate) struct Driven<T> {
    /// `None` once it has ended, and for a stream that somebody else fills.
    call: Option<LocalBoxFuture<'static, T>>,
    outcome: Option<T>,
    emissions: Emissions,
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
        Self { call: Some(call), outcome: None, emissions }
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
        Self { call: None, outcome: None, emissions }
    }

    /// The same with another outcome.
    pub(crate) fn map<U: Unpin + 'static>(self, change: impl FnOnce(T) -> U + 'static) -> Driven<U> {
        let Self { call, outcome, emissions } = self;
        match (call, outcome) {
            (Some(call), _) => {
                let call = Box::pin(async move { change(call.await) });
                Driven { call: Some(call), outcome: None, emissions }
            }
            (None, outcome) => Driven { call: None, outcome: outcome.map(change), emissions },
        }
    }

    /// Whether the client was cut because it let too much wait.
    pub(crate) fn overflowed(&self) -> bool {
        self.emissions.overflowed()
    }

    /// The next step. What the call tells on its way comes before its end.
    pub(crate) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step<T>> {
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
