//! Lines of standard output, one message each: they are written by a thread of their own, for a client that does not read makes a
//! write wait.

use std::io::{self, Write};
use std::thread;

use actix_web::web::Bytes;
use tokio::sync::{mpsc, watch};

/// Messages that wait to be written. Who tells more waits until there is room, as does whatever it tells of.
const WAITING_MAX: usize = 64;

/// Where messages are put. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Output(mpsc::Sender<Bytes>);

/// The writing end.
#[derive(Debug)]
pub(super) struct Written(watch::Receiver<State>);

/// What became of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// All was written that was put there.
    Done,
    /// Nobody reads any more.
    Closed,
}

/// Starts to write to `output`.
///
/// # Errors
/// The system refuses the thread.
pub(super) fn write(output: impl Write + Send + 'static) -> io::Result<(Output, Written)> {
    let (messages, mut waiting) = mpsc::channel::<Bytes>(WAITING_MAX);
    let (state, seen) = watch::channel(State::Open);
    thread::Builder::new().name("stdout".to_owned()).spawn(move || {
        let mut output = output;
        while let Some(message) = waiting.blocking_recv() {
            // One write, so that a line is whole for whoever else holds the descriptor.
            let line = [&message[..], b"\n"].concat();
            if let Err(error) = output.write_all(&line).and_then(|()| output.flush()) {
                tracing::info!(error = %error, "Standard output is closed.");
                state.send_replace(State::Closed);
                return;
            }
        }
        state.send_replace(State::Done);
    })?;
    Ok((Output(messages), Written(seen)))
}

impl Output {
    /// The same for whoever knows nothing of lines.
    pub(super) fn channel(&self) -> mpsc::Sender<Bytes> {
        self.0.clone()
    }

    /// Puts a message there as soon as there is room. One that nobody reads any more is dropped.
    pub(super) async fn send(&self, message: Bytes) {
        let _ = self.0.send(message).await;
    }
}

impl Written {
    /// Returns when nobody reads any more.
    pub(super) async fn closed(&mut self) {
        if self.0.wait_for(|state| *state == State::Closed).await.is_err() {
            std::future::pending().await
        }
    }

    /// Returns when all was written, or never can be. Whoever may put more there must be gone.
    pub(super) async fn done(mut self) {
        let _ = self.0.wait_for(|state| *state != State::Open).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut all = self.0.lock().unwrap();
            // A reader that goes after so much.
            if all.len() > 8 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            all.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn all_is_written_before_it_is_done() {
        let shared = Shared::default();
        let (output, written) = write(shared.clone()).unwrap();
        output.send(Bytes::from_static(b"{}")).await;
        output.send(Bytes::from_static(b"[]")).await;
        drop(output);
        written.done().await;
        assert_eq!(*shared.0.lock().unwrap(), b"{}\n[]\n");
    }

    #[tokio::test]
    async fn who_does_not_read_any_more_is_noticed() {
        let (output, mut written) = write(Shared::default()).unwrap();
        for _ in 0..WAITING_MAX * 2 {
            output.send(Bytes::from_static(b"{\"a\":1}")).await;
        }
        written.closed().await;
        written.done().await;
    }
}
