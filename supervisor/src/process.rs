//! One process as the supervisor holds it.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::event::PollFlags;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, pidfd_send_signal, waitpid};
use task_mcp_link::{Decoder, FromProcess, LinkError, Message, Received, ToProcess, encode};
use task_mcp_scoreboard::Seat;

use crate::handover::SavedLink;
use crate::outgoing::Outgoing;
use crate::starved::Starvation;
use crate::step::Post;

/// How much is read from a link at once, in bytes.
const READ_BYTES: usize = 16 << 10;
/// How much of one link is read in one pass, in bytes, so that a talkative process does not keep the others waiting.
const PASS_BYTES: usize = 1 << 20;

/// A process that was started and not yet reaped.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) post: Post,
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) seat: Seat,
    pub(crate) seat_index: u16,
    /// Which scoreboard its seat is on: 0 the one in use, then older ones.
    pub(crate) board: usize,
    /// What it was started with, or has taken over.
    pub(crate) revision: u64,
    pub(crate) starvation: Starvation,
    /// Whether it has said that it serves. Before that it does not read its link.
    pub(crate) is_ready: bool,
    /// It is to open the log file anew when it is ready.
    pub(crate) owes_reopen: bool,
    /// It was sent SIGABRT because it hung: dying of that says nothing of its memory.
    pub(crate) was_aborted: bool,
    /// `None` once the link ended.
    pub(crate) link: Option<Link>,
}

/// Our end of the socket pair, non-blocking.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    decoder: Decoder<FromProcess>,
    outgoing: Outgoing,
}

/// Why a link is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("the process closed it")]
    Closed,
    #[error("reading or writing failed")]
    Io(#[from] io::Error),
    #[error("a message could not be understood or written")]
    Message(#[from] LinkError),
}

impl Running {
    /// The messages that have arrived, and whether the link was lost; it is dropped then.
    pub(crate) fn hear(&mut self) -> (Vec<Received<FromProcess>>, Option<Lost>) {
        let mut messages = Vec::new();
        let Some(link) = &mut self.link else { return (messages, None) };
        let lost = link.read_into(&mut messages).err();
        if lost.is_some() {
            self.link = None;
        }
        (messages, lost)
    }

    /// Gives an order, with the descriptors that belong to it; the process gets duplicates. Orders are few and small: a process that
    /// leaves many unread has long stopped reading, and its link counts as lost.
    pub(crate) fn tell(&mut self, message: &ToProcess, descriptors: &[BorrowedFd<'_>]) -> Result<(), Lost> {
        let Some(link) = &mut self.link else { return Err(Lost::Closed) };
        let sent = link.send(message, descriptors);
        if sent.is_err() {
            self.link = None;
        }
        sent
    }

    /// Hands on an event of the bus, or queues it; false if it was given up for `resync`.
    pub(crate) fn hint(&mut self, frame: &Arc<[u8]>, resync: &Arc<[u8]>) -> bool {
        self.link.as_mut().is_none_or(|link| link.outgoing.hint(frame, resync))
    }

    /// Tells it that events may have been lost.
    pub(crate) fn resync(&mut self, resync: &Arc<[u8]>) {
        if let Some(link) = &mut self.link {
            link.outgoing.resync(resync);
        }
    }

    /// Writes what waits, as far as there is room.
    pub(crate) fn flush(&mut self) -> Result<(), Lost> {
        let Some(link) = &mut self.link else { return Ok(()) };
        let flushed = link.outgoing.write(&link.stream);
        if flushed.is_err() {
            self.link = None;
        }
        Ok(flushed?)
    }

    /// Sends a signal, through the pidfd: it cannot reach a stranger.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// Reaps the process if it is dead. The status is unknown if somebody else reaped it.
    pub(crate) fn reap(&self) -> Option<Option<WaitStatus>> {
        match waitpid(Some(self.pid), WaitOptions::NOHANG) {
            Ok(reaped) => reaped.map(|(_, status)| Some(status)),
            Err(rustix::io::Errno::INTR) => None,
            Err(_) => Some(None),
        }
    }

    /// What to poll, and for what.
    pub(crate) fn polls(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let link = self.link.iter().map(|link| {
            let writes = if link.outgoing.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            (link.stream.as_fd(), PollFlags::IN | writes)
        });
        std::iter::once((self.pidfd.as_fd(), PollFlags::IN)).chain(link)
    }

    /// Its descriptors.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.pidfd.as_fd()).chain(self.link.iter().map(|link| link.stream.as_fd()))
    }
}

impl Link {
    /// A link over our end of a socket pair.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, decoder: Decoder::new(), outgoing: Outgoing::default() })
    }

    /// The descriptor's number, what was read of an unfinished message and what was not written, for the program that takes over.
    pub(crate) fn save(&self) -> SavedLink {
        let (read, unwritten) = (self.decoder.rest().to_vec(), self.outgoing.rest());
        SavedLink { stream: self.stream.as_raw_fd(), read, unwritten }
    }

    /// Takes a link over.
    pub(crate) fn restore(stream: OwnedFd, read: &[u8], unwritten: Vec<u8>) -> io::Result<Self> {
        let mut link = Self::new(stream.into())?;
        link.decoder.push(read);
        link.outgoing.go_on(unwritten);
        Ok(link)
    }

    fn send(&mut self, message: &ToProcess, descriptors: &[BorrowedFd<'_>]) -> Result<(), Lost> {
        let frame = encode(message)?;
        if descriptors.len() != message.descriptors() {
            return Err(Lost::Io(ErrorKind::InvalidInput.into()));
        }
        self.outgoing.order(frame, descriptors)?;
        Ok(self.outgoing.write(&self.stream)?)
    }

    fn read_into(&mut self, messages: &mut Vec<Received<FromProcess>>) -> Result<(), Lost> {
        let mut bytes = [0; READ_BYTES];
        let mut total = 0;
        while total < PASS_BYTES {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(Lost::Closed),
                Ok(count) => {
                    total += count;
                    self.decoder.push(bytes.get(..count).unwrap_or_default());
                    while let Some(message) = self.decoder.next_message()? {
                        messages.push(message);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A process killed with unread messages of ours resets the pair; its death is told by the pidfd.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Lost::Closed),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use std::io::IoSliceMut;
    use std::mem::MaybeUninit;

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    use super::*;

    #[test]
    fn descriptors_travel_with_the_first_byte_of_their_message_and_with_no_other() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut link = Link::new(ours).unwrap();
        let (one, _other) = UnixStream::pair().unwrap();
        let adopt = ToProcess::Adopt { slot: 1, sockets: 2 };
        assert!(matches!(link.send(&adopt, &[one.as_fd()]), Err(Lost::Io(_))), "one is missing");
        link.send(&ToProcess::ReopenLogs, &[]).unwrap();
        link.send(&adopt, &[one.as_fd(); 2]).unwrap();
        let before = encode(&ToProcess::ReopenLogs).unwrap().len();
        let receive = |bytes: usize| {
            let mut buffer = vec![0; bytes];
            let mut space = [MaybeUninit::uninit(); 256];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let received =
                recvmsg(&theirs, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
            assert_eq!(received.bytes, bytes);
            let descriptors = control.drain().map(|part| match part {
                RecvAncillaryMessage::ScmRights(all) => all.count(),
                _ => 0,
            });
            descriptors.sum::<usize>()
        };
        assert_eq!(receive(before), 0);
        assert_eq!(receive(1), 2);
        assert_eq!(receive(encode(&adopt).unwrap().len() - 1), 0);
    }
}
