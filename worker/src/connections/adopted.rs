//! Connections that wait in the queue of a slot that nobody serves: a worker accepts them and serves them as its own.
//!
//! Only as many are accepted as there is room for: what is left waits where it is, for another worker or for a place that becomes
//! free, and is not refused. They are accepted and served on the thread that serves all others, whose heartbeat tells that it runs.
//! The sockets stay the supervisor's: they are never registered with epoll, where an entry would outlive the descriptor (epoll(7)),
//! and their flags, which all holders share, are left alone.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix_service::Service;
use actix_web::rt;
use actix_web::rt::net::TcpStream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl};
use tokio::sync::{mpsc, watch};

use super::front::Front;
use super::gate::Gate;
use super::serve::{Accepted, service};

/// Queues that may wait to be looked at. The supervisor tells again as long as something waits in one.
const QUEUES_MAX: usize = 8;
/// Connections accepted from one socket when told once. The supervisor tells again as long as something waits.
const ACCEPTED_MAX: usize = 4096;
/// Connections accepted in a row before the thread turns to others.
const TURN: usize = 32;

/// Hands queues to the thread that serves. One for each worker.
pub(crate) struct Adopter {
    queues: mpsc::Sender<Queue>,
    /// Until the thread that serves takes it.
    waiting: Mutex<Option<mpsc::Receiver<Queue>>>,
    open: Arc<AtomicUsize>,
    closing: watch::Sender<bool>,
}

/// The listening sockets of a slot.
struct Queue {
    slot: u16,
    sockets: Vec<OwnedFd>,
}

impl Adopter {
    pub(crate) fn new() -> Self {
        let (queues, waiting) = mpsc::channel(QUEUES_MAX);
        Self { queues, waiting: Mutex::new(Some(waiting)), open: Arc::default(), closing: watch::Sender::new(false) }
    }

    /// Accepts what waits in these sockets. A queue too many is left for the next time.
    pub(crate) fn adopt(&self, slot: u16, sockets: Vec<OwnedFd>) {
        let _ = self.queues.try_send(Queue { slot, sockets });
    }

    /// Adopted connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Ends adopted connections that are idle, and the others after their next answer.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }
}

/// Serves what is adopted, from the thread that calls it first.
pub(crate) fn begin(front: &Arc<Front>) {
    let queues = front.adopter.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(queues) = queues {
        rt::spawn(serve(queues, front.clone()));
    }
}

async fn serve(mut queues: mpsc::Receiver<Queue>, front: Arc<Front>) {
    let closing = front.adopter.closing.subscribe();
    let closing = move || {
        let mut closing = closing.clone();
        async move { drop(closing.wait_for(|closing| *closing).await.map(|_| ())) }
    };
    let Ok(service) = service::<_, _, Accepted>(&front, closing).await else {
        tracing::error!("Connections of other slots cannot be served; they wait for their own workers.");
        return;
    };
    let counter = Arc::clone(&front.adopter.open);
    while let Some(Queue { slot, sockets }) = queues.recv().await {
        let mut connections = 0;
        for socket in sockets {
            connections += accept_all(socket, &front.gate, |accepted| {
                // Here and now, while there is the room that was found.
                let (served, open) = (service.call(accepted), Open::new(&counter));
                rt::spawn(async move {
                    // What goes wrong with a connection is the client's affair, as with all others.
                    let _ = served.await;
                    drop(open);
                });
            })
            .await;
        }
        if connections > 0 {
            tracing::info!(slot, connections, "Connections of a slot that nobody serves were taken over.");
        }
    }
}

/// Accepts until nothing waits, or there is no room, or as many as may wait in a queue were accepted: how many it were. One whose
/// address has too many is refused as any other.
async fn accept_all(socket: OwnedFd, gate: &Arc<Gate>, mut serve: impl FnMut(Accepted)) -> usize {
    // A socket that blocks would stop everybody this thread serves.
    if !fcntl_getfl(&socket).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK)) {
        tracing::error!("A socket of another slot would block; what waits in it waits for its own worker.");
        return 0;
    }
    let listener = TcpListener::from(socket);
    let mut accepted = 0;
    while accepted < ACCEPTED_MAX && is_waited_at(&listener) {
        // Found before it is accepted, for what was accepted cannot be put back.
        let Some(reserved) = gate.reserve() else { break };
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // The client left while it waited.
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => continue,
            Err(error) => {
                tracing::warn!(error = %error, "A connection of another slot could not be accepted.");
                break;
            }
        };
        match stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
            Ok(stream) => serve(Accepted { stream, reserved: Some(reserved) }),
            Err(error) => tracing::warn!(error = %error, "A connection of another slot could not be served."),
        }
        accepted += 1;
        if accepted % TURN == 0 {
            rt::task::yield_now().await;
        }
    }
    accepted
}

/// Whether a connection waits there. A socket that cannot be asked is tried.
fn is_waited_at(listener: &TcpListener) -> bool {
    let mut asked = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut asked, Some(&Timespec::default())) != Ok(0)
}

/// An adopted connection between its acceptance and its end.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
