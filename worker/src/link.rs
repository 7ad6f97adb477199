//! The process's end of the link to the supervisor.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use task_mcp_link::{Decoder, FromProcess, MAX_DESCRIPTORS, Message, Received, ToProcess, encode, told};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::error::WorkerError;
use crate::process::{Boot, Build};

/// Messages whose descriptors may wait for the rest of them. A read ends with the first bytes that have descriptors, and
/// complete messages are taken before the next read, so there are two at most.
const WAITING_MAX: usize = 2;
/// Descriptors kept open for those of a message, so that a process that may open no more can still be told. Settings take one,
/// a slot one for each address.
const SPARES: usize = 4;

/// Events are put behind what is to be written up to this size, in bytes; more wait in the outbox, which has its own limits.
const OUTGOING_BYTES: usize = 256 << 10;

/// Messages from and to the supervisor.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    decoder: Decoder<ToProcess>,
    /// Descriptors of messages that are not complete yet, in their order; `None` if this process could not open them all.
    waiting: VecDeque<Option<Vec<OwnedFd>>>,
    /// Given up for a moment when something is read.
    spares: Vec<OwnedFd>,
    /// What is to be written.
    outgoing: Vec<u8>,
}

/// A message of the supervisor.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) message: ToProcess,
    /// The descriptors that came with it, close-on-exec; as many as the message says, or none if this process could not open
    /// them.
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Link {
    /// Takes over the inherited socket. Within a tokio runtime.
    pub(crate) fn new(fd: OwnedFd) -> Result<Self, WorkerError> {
        let stream = std::os::unix::net::UnixStream::from(fd);
        stream.set_nonblocking(true).map_err(WorkerError::Link)?;
        let stream = UnixStream::from_std(stream).map_err(WorkerError::Link)?;
        let mut link = Self {
            stream,
            decoder: Decoder::default(),
            waiting: VecDeque::new(),
            spares: Vec::new(),
            outgoing: Vec::new(),
        };
        link.keep_spares();
        Ok(link)
    }

    /// Tells the supervisor. Cancel-safe: what is not written then is written later, before anything else.
    pub(crate) async fn tell(&mut self, message: &FromProcess) -> Result<(), WorkerError> {
        self.post(message)?;
        while !self.outgoing.is_empty() {
            self.stream.writable().await.map_err(WorkerError::Link)?;
            self.write().map_err(WorkerError::Link)?;
        }
        Ok(())
    }

    /// Tells the supervisor when there is time: while the next message is waited for.
    pub(crate) fn post(&mut self, message: &FromProcess) -> Result<(), WorkerError> {
        let frame = encode(message).map_err(|error| WorkerError::Link(io::Error::other(error)))?;
        self.outgoing.extend_from_slice(&frame);
        Ok(())
    }

    /// Whether so little is to be written that more may be posted.
    pub(crate) fn has_room(&self) -> bool {
        self.outgoing.len() < OUTGOING_BYTES
    }

    /// Tells why the process ends before its time. Nobody may be listening; the exit code says it again.
    pub(crate) async fn tell_fatal(&mut self, error: &WorkerError) {
        let _ = self.tell(&FromProcess::Fatal { exit_code: error.exit_code(), reason: told(error) }).await;
    }

    /// The next message; `None` when the supervisor is gone or speaks another language. Writes meanwhile what is to be written.
    /// Cancel-safe: what was read of a message stays here.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        loop {
            match self.decoder.next_message() {
                Ok(Some(Received::Message(message))) => {
                    let descriptors = match self.take(message.descriptors()) {
                        Taken::All(descriptors) => descriptors,
                        Taken::Lost => {
                            tracing::warn!(
                                ?message,
                                "Descriptors of a message could not be opened: this process is at its limit of open files."
                            );
                            Vec::new()
                        }
                        Taken::Wrong => {
                            tracing::error!(
                                ?message,
                                "A message of the supervisor came with other descriptors than it says; the process ends."
                            );
                            return None;
                        }
                    };
                    return Some(Told { message, descriptors });
                }
                Ok(Some(Received::Unknown { name, descriptors })) => {
                    tracing::info!(
                        message = name,
                        "The supervisor said something this version does not know; it is left aside."
                    );
                    // Nobody knows what they are for: they are closed.
                    if matches!(self.take(descriptors), Taken::Wrong) {
                        return None;
                    }
                }
                Ok(None) => match self.read().await {
                    Ok(0) => return None,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::InvalidData => {
                        tracing::error!(error = %error, "The link to the supervisor cannot be used; the process ends.");
                        return None;
                    }
                    Err(_) => return None,
                },
                Err(error) => {
                    tracing::error!(error = %error, "The link to the supervisor cannot be understood; the process ends.");
                    return None;
                }
            }
        }
    }

    /// The descriptors of the first message that has some, which should be `count`.
    fn take(&mut self, count: usize) -> Taken {
        if count == 0 {
            return Taken::All(Vec::new());
        }
        match self.waiting.pop_front() {
            Some(Some(descriptors)) if descriptors.len() == count => Taken::All(descriptors),
            Some(None) => Taken::Lost,
            Some(Some(_)) | None => Taken::Wrong,
        }
    }

    /// Opens what is missing of the spares, as far as that is possible now.
    fn keep_spares(&mut self) {
        while self.spares.len() < SPARES {
            let Ok(spare) = File::open("/dev/null") else { return };
            self.spares.push(spare.into());
        }
    }

    /// Waits for bytes and takes in what came: how many they were. Writes meanwhile. Cancel-safe: nothing is taken from the socket
    /// that is not kept at once.
    async fn read(&mut self) -> io::Result<usize> {
        self.keep_spares();
        loop {
            let writes = if self.outgoing.is_empty() { None } else { Some(Interest::WRITABLE) };
            let interest = writes.map_or(Interest::READABLE, |writes| Interest::READABLE | writes);
            let ready = self.stream.ready(interest).await?;
            if ready.is_writable() {
                // A supervisor that is gone may have said something before.
                let _ = self.write();
            }
            if !ready.is_readable() {
                continue;
            }
            let Self { stream, decoder, waiting, spares, .. } = self;
            let read = stream.try_io(Interest::READABLE, || {
                // What comes takes their numbers. Another thread may be quicker; then the message is answered without.
                spares.clear();
                receive(stream, decoder, waiting)
            });
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.keep_spares(),
                read => return read,
            }
        }
    }

    /// Writes as much as there is room for.
    fn write(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.stream.try_write(&self.outgoing) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    self.outgoing.clear();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// What there is of the descriptors of a message.
enum Taken {
    All(Vec<OwnedFd>),
    /// This process could not open them all; those it could are closed.
    Lost,
    /// The supervisor sent others than it said.
    Wrong,
}

/// Reads once, with descriptors if some came (unix(7), SCM_RIGHTS).
fn receive(
    stream: &UnixStream,
    decoder: &mut Decoder<ToProcess>,
    waiting: &mut VecDeque<Option<Vec<OwnedFd>>>,
) -> io::Result<usize> {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut came = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = part {
            came.extend(descriptors);
        }
    }
    // Descriptors that cannot be opened are cut off just as those that do not fit are; there was room for all of a message.
    let cut = received.flags.contains(ReturnFlags::CTRUNC);
    let too_many = came.len() > MAX_DESCRIPTORS || (cut && came.len() == MAX_DESCRIPTORS);
    if cut || !came.is_empty() {
        waiting.push_back((!cut).then_some(came));
    }
    if too_many || waiting.len() > WAITING_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "more descriptors than any message has"));
    }
    decoder.push(bytes.get(..received.bytes).unwrap_or_default());
    Ok(received.bytes)
}

/// The first message of a process.
pub(crate) fn hello(boot: &Boot, build: &Build) -> FromProcess {
    FromProcess::Hello {
        pid: std::process::id(),
        generation: boot.generation,
        seat: boot.seat,
        build: build.build.clone(),
    }
}

/// Where a process listens, for people.
pub(crate) fn addresses(listeners: &[TcpListener]) -> Vec<String> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).map(|address| address.to_string()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use std::io::{IoSlice, Read, Write};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream as StdStream;

    use rustix::io::{FdFlags, fcntl_getfd};
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    /// Sends bytes with descriptors, as the supervisor does.
    fn send(stream: &StdStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); 1024];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
        let sent = sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
        assert_eq!(sent, bytes.len());
    }

    fn pair() -> (StdStream, Link) {
        let (ours, theirs) = StdStream::pair().unwrap();
        (ours, Link::new(theirs.into()).unwrap())
    }

    /// A pipe whose other end tells which one it is.
    fn marked(mark: &str) -> (StdStream, StdStream) {
        let (mut near, far) = StdStream::pair().unwrap();
        near.write_all(mark.as_bytes()).unwrap();
        (near, far)
    }

    /// What tells a socket from all others.
    fn inode(fd: BorrowedFd<'_>) -> u64 {
        rustix::fs::fstat(fd).unwrap().st_ino
    }

    fn mark_of(fd: OwnedFd) -> String {
        let mut bytes = [0; 1];
        StdStream::from(fd).read_exact(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn every_message_gets_its_own_descriptors_however_the_bytes_are_cut() {
        let marks: Vec<_> = ["a", "b", "c"].into_iter().map(marked).collect();
        let far: Vec<BorrowedFd<'_>> = marks.iter().map(|(_, far)| far.as_fd()).collect();
        let first = encode(&ToProcess::Adopt { slot: 3, sockets: 2 }).unwrap();
        let between = encode(&ToProcess::ReopenLogs).unwrap();
        let second = encode(&ToProcess::Apply { revision: 7 }).unwrap();
        for cut in 1..first.len() {
            let (mut ours, mut link) = pair();
            send(&ours, &first[..cut], &far[..2]);
            ours.write_all(&[&first[cut..], &between].concat()).unwrap();
            send(&ours, &second, &far[2..]);
            let adopted = link.next().await.unwrap();
            assert_eq!((&adopted.message, adopted.descriptors.len()), (&ToProcess::Adopt { slot: 3, sockets: 2 }, 2));
            for fd in &adopted.descriptors {
                assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC), "no tool may inherit it");
            }
            let told = link.next().await.unwrap();
            assert_eq!((told.message, told.descriptors.len()), (ToProcess::ReopenLogs, 0));
            let applied = link.next().await.unwrap();
            assert_eq!(applied.message, ToProcess::Apply { revision: 7 });
            let received = adopted.descriptors.iter().chain(&applied.descriptors).map(|fd| inode(fd.as_fd()));
            assert_eq!(received.collect::<Vec<_>>(), far.iter().map(|fd| inode(*fd)).collect::<Vec<_>>());
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn descriptors_of_an_unknown_message_are_closed_and_the_next_message_gets_its_own() {
        let (unwanted, far) = marked("x");
        let (_wanted, other) = marked("y");
        let json = br#"{"v":1,"type":"later","descriptors":1}"#;
        let (ours, mut link) = pair();
        send(&ours, &[&(json.len() as u32).to_le_bytes()[..], json].concat(), &[far.as_fd()]);
        send(&ours, &encode(&ToProcess::Apply { revision: 1 }).unwrap(), &[other.as_fd()]);
        drop(far);
        let told = link.next().await.unwrap();
        assert_eq!(told.descriptors.into_iter().map(mark_of).collect::<Vec<_>>(), ["y"]);
        // All copies of the far end are closed, so the near end reads no more, after its own side is at its end.
        let mut unwanted = unwanted;
        unwanted.set_nonblocking(true).unwrap();
        let end = unwanted.read(&mut [0; 1]);
        assert!(matches!(&end, Ok(0)) || end.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_message_without_its_descriptors_ends_the_link_and_so_do_too_many() {
        let (mut ours, mut link) = pair();
        ours.write_all(&encode(&ToProcess::Apply { revision: 1 }).unwrap()).unwrap();
        assert!(link.next().await.is_none());
        let (_near, far) = marked("x");
        let (ours, mut link) = pair();
        send(&ours, &encode(&ToProcess::ReopenLogs).unwrap(), &[far.as_fd(); MAX_DESCRIPTORS + 1]);
        assert!(link.next().await.is_none());
    }
}
