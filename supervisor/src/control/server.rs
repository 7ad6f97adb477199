//! The socket and its clients.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, fchmod};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};
use tracing::{debug, warn};

use super::lines::{LINE_BYTES, Lines};
use super::message::{Request, Response};
use crate::SupervisorError;
use crate::spawn::take_over;

/// Clients at the same time, without those that wait for something to be done.
pub(super) const CLIENTS_MAX: usize = 16;
/// Clients that wait for something to be done.
pub(super) const WAITING_MAX: usize = 64;
/// A client that says nothing, and waits for nothing, is sent away after this time, in milliseconds.
const IDLE_MS: u64 = 10_000;
/// Longest answer, not yet read, that goes over to another program, in bytes.
const TRAVEL_BYTES: usize = 64 << 10;
/// If there is no room for another, the client that has said nothing for longest makes room after this time, in milliseconds.
const ROOM_MS: u64 = 100;
/// When no descriptor is left for a client, the next is accepted after this time, in milliseconds.
const PAUSE_MS: u64 = 1_000;
/// Longest request a client may have under way and longest answer it may leave unread, in bytes.
const UNREAD_BYTES: usize = 1 << 20;

/// The control socket. Its file goes with the value.
#[derive(Debug)]
pub(crate) struct Server {
    path: PathBuf,
    listener: UnixListener,
    clients: Vec<Client>,
    next_id: u64,
    paused_until_ms: u64,
}

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Awaits {
    /// The end of a rolling restart.
    Restart,
    /// Settings to be in force; whether they were read since it asked.
    Reload { begun: bool },
    /// A program to be in force; whether it was tried since it asked.
    Upgrade { begun: bool },
    /// The number of workers that was asked for.
    Scale { workers: u16 },
    /// The answer to a question for the admin process.
    Answer { id: u64 },
}

/// The socket and its clients as data; descriptors are numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedServer {
    path: PathBuf,
    listener: RawFd,
    clients: Vec<SavedClient>,
    next_id: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedClient {
    id: u64,
    stream: RawFd,
    lines: Vec<u8>,
    out: Vec<u8>,
    awaits: Option<Awaits>,
    ended: bool,
    leaves: bool,
}

#[derive(Debug)]
struct Client {
    id: u64,
    stream: UnixStream,
    lines: Lines,
    out: Vec<u8>,
    awaits: Option<Awaits>,
    heard_ms: u64,
    /// It has closed its side: it asks nothing more and may still listen.
    ended: bool,
    /// Closed once `out` is written.
    leaves: bool,
    gone: bool,
}

impl Server {
    /// Opens the socket, for this user and root only. The caller holds the lock of the instance.
    pub(crate) fn open(path: &Path) -> Result<Self, SupervisorError> {
        let failed = |source| SupervisorError::ControlSocket { path: path.to_owned(), source };
        clear_the_way(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
        // Linux makes the file with the mode of the socket, so it is never open to others (unix(7) leaves it to the umask).
        fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|errno| failed(errno.into()))?;
        let bound = SockAddr::unix(path).and_then(|address| socket.bind(&address));
        bound.and_then(|()| socket.listen(CLIENTS_MAX as i32)).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from(std::os::fd::OwnedFd::from(socket));
        Ok(Self { path: path.to_owned(), listener, clients: Vec::new(), next_id: 1, paused_until_ms: 0 })
    }

    /// The socket and its clients as data, for the program that takes over.
    pub(crate) fn save(&self) -> SavedServer {
        let client = |client: &Client| SavedClient {
            id: client.id,
            stream: client.stream.as_raw_fd(),
            lines: client.lines.rest().to_vec(),
            out: client.out.clone(),
            awaits: client.awaits,
            ended: client.ended,
            leaves: client.leaves,
        };
        SavedServer {
            path: self.path.clone(),
            listener: self.listener.as_raw_fd(),
            clients: self.clients.iter().filter(|client| client.travels()).map(client).collect(),
            next_id: self.next_id,
        }
    }

    /// Takes them over.
    pub(crate) fn restore(saved: SavedServer, now_ms: u64) -> io::Result<Self> {
        let SavedServer { path, listener, clients, next_id } = saved;
        let client = |saved: SavedClient| {
            let mut lines = Lines::new(LINE_BYTES);
            // It was within the limit before.
            let _ = lines.push(&saved.lines);
            Ok(Client {
                id: saved.id,
                stream: take_over(saved.stream)?.into(),
                lines,
                out: saved.out,
                awaits: saved.awaits,
                heard_ms: now_ms,
                ended: saved.ended,
                leaves: saved.leaves,
                gone: false,
            })
        };
        Ok(Self {
            path,
            listener: take_over(listener)?.into(),
            clients: clients.into_iter().map(client).collect::<io::Result<_>>()?,
            next_id,
            paused_until_ms: 0,
        })
    }

    /// The socket and those of its clients that [`Self::save`] names.
    pub(crate) fn all_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd())
            .chain(self.clients.iter().filter(|client| client.travels()).map(|client| client.stream.as_fd()))
    }

    /// What to poll, and for what.
    pub(crate) fn fds(&self, now_ms: u64) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let listener = (self.paused_until_ms <= now_ms).then(|| (self.listener.as_fd(), PollFlags::IN));
        let clients = self.clients.iter().map(|client| {
            let writes = if client.out.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            // An ended stream is readable for ever. That both sides are closed is told unasked (poll(2), POLLHUP).
            let reads = if client.ended || client.leaves { PollFlags::empty() } else { PollFlags::IN };
            (client.stream.as_fd(), reads | writes)
        });
        listener.into_iter().chain(clients)
    }

    /// Accepts, reads and writes what is there, and tells the requests, each with the client's number. A client has one
    /// request under way.
    pub(super) fn serve(&mut self, now_ms: u64) -> Vec<(u64, Request)> {
        self.accept(now_ms);
        let mut requests = Vec::new();
        for client in &mut self.clients {
            client.read(now_ms);
            if client.awaits.is_some() {
                // Its time to be idle begins with the answer.
                client.heard_ms = now_ms;
            }
            // What a client asked for goes on without it.
            client.gone |= client.ended && client.hung_up();
            while client.awaits.is_none() && !client.leaves && !client.gone {
                let Some(line) = client.lines.next_line() else {
                    client.leaves |= client.ended;
                    break;
                };
                match serde_json::from_slice(&line) {
                    Ok(request) => {
                        requests.push((client.id, request));
                        break;
                    }
                    Err(error) => client.refuse(format!("this is no request this version knows: {error}")),
                }
            }
            if now_ms.saturating_sub(client.heard_ms) > IDLE_MS && client.awaits.is_none() {
                client.gone = true;
            }
        }
        self.flush();
        requests
    }

    /// Answers a client; it may have gone.
    pub(crate) fn answer(&mut self, id: u64, response: &Response) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
            client.reply(response);
        }
        self.flush();
    }

    /// Lets a client wait. If too many wait, it is refused, and `false` is returned.
    pub(crate) fn await_for(&mut self, id: u64, awaits: Awaits) -> bool {
        let waiting = self.clients.iter().filter(|client| client.awaits.is_some()).count();
        let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else { return true };
        if waiting >= WAITING_MAX {
            client.refuse(format!("{WAITING_MAX} clients wait for an answer already; try again later"));
            self.flush();
            return false;
        }
        client.awaits = Some(awaits);
        true
    }

    /// What these waited for has begun: whoever comes later waits for the next time.
    pub(crate) fn begin(&mut self, waiting: Awaits, begun: Awaits) {
        for client in self.clients.iter_mut().filter(|client| client.awaits == Some(waiting)) {
            client.awaits = Some(begun);
        }
    }

    /// Answers all who wait for such a thing.
    pub(crate) fn fulfil(&mut self, what: impl Fn(Awaits) -> bool, response: &Response) {
        for client in self.clients.iter_mut().filter(|client| client.awaits.is_some_and(&what)) {
            client.awaits = None;
            client.reply(response);
        }
        self.flush();
    }

    fn accept(&mut self, now_ms: u64) {
        if self.paused_until_ms > now_ms {
            return;
        }
        // At most so many in one pass, however fast they come.
        for _ in 0..CLIENTS_MAX {
            match self.listener.accept() {
                Ok((stream, _)) => self.welcome(stream, now_ms),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    warn!(error = %error, "A client of the control socket could not be accepted.");
                    self.paused_until_ms = now_ms + PAUSE_MS;
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, stream: UnixStream, now_ms: u64) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        let lines = Lines::new(LINE_BYTES);
        let mut client = Client {
            id,
            stream,
            lines,
            out: Vec::new(),
            awaits: None,
            heard_ms: now_ms,
            ended: false,
            leaves: false,
            gone: false,
        };
        let own_uid = rustix::process::geteuid().as_raw();
        match getsockopt(&client.stream, PeerCredentials) {
            Ok(peer) if peer.uid() == own_uid || peer.uid() == 0 => {}
            Ok(peer) => {
                warn!(uid = peer.uid(), pid = peer.pid(), "Another user was turned away from the control socket.");
                client.refuse(format!("only user {own_uid} and root may control this instance"));
            }
            Err(error) => client.refuse(format!("the system does not say who you are: {error}")),
        }
        if client.leaves {
            // It takes nobody's place.
        } else if self.clients.iter().filter(|client| client.awaits.is_none()).count() >= CLIENTS_MAX
            && !self.make_room(now_ms)
        {
            client.refuse(format!("{CLIENTS_MAX} clients are connected already; try again later"));
        }
        if client.leaves {
            // It is not kept: what the socket does not take at once is lost.
            client.write();
        } else {
            self.clients.push(client);
        }
    }

    /// Sends the client away that has said nothing for longest, if that is long enough.
    fn make_room(&mut self, now_ms: u64) -> bool {
        let is_idle = |client: &&mut Client| {
            client.awaits.is_none() && client.out.is_empty() && now_ms.saturating_sub(client.heard_ms) >= ROOM_MS
        };
        let idle = self.clients.iter_mut().filter(is_idle).min_by_key(|client| client.heard_ms);
        let Some(client) = idle else { return false };
        let id = client.id;
        self.clients.retain(|client| client.id != id);
        true
    }

    fn flush(&mut self) {
        self.clients.iter_mut().for_each(Client::write);
        self.clients.retain(|client| !client.gone);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A file that cannot be removed is found to be stale by the next instance.
        let _ = fs::remove_file(&self.path);
    }
}

impl Client {
    /// Whether it is handed over to another program. One that leaves this much unread has long stopped reading.
    fn travels(&self) -> bool {
        self.out.len() <= TRAVEL_BYTES && !self.gone
    }

    fn read(&mut self, now_ms: u64) {
        let mut bytes = [0; 4096];
        while !self.leaves && !self.gone && !self.ended {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.heard_ms = now_ms;
                    if let Err(error) = self.lines.push(bytes.get(..count).unwrap_or_default()) {
                        self.refuse(error.to_string());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    debug!(error = %error, "A client of the control socket is gone.");
                    self.gone = true;
                }
            }
        }
    }

    /// Whether both sides are closed.
    fn hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::empty())];
        let polled = poll(&mut fds, Some(&Timespec::default()));
        polled.is_ok() && fds.iter().any(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR))
    }

    /// Answers a request. A client that ended its side after its last one has nothing more to wait for.
    fn reply(&mut self, response: &Response) {
        self.say(response);
        self.leaves |= self.ended && !self.lines.has_line();
    }

    fn refuse(&mut self, reason: String) {
        self.say(&Response::Refused { reason });
        self.leaves = true;
    }

    fn say(&mut self, response: &Response) {
        match serde_json::to_vec(response) {
            Ok(line) if self.out.len() + line.len() < UNREAD_BYTES => {
                self.out.extend(line);
                self.out.push(b'\n');
            }
            // It asks and does not read.
            Ok(_) => self.gone = true,
            Err(error) => {
                warn!(error = %error, "An answer could not be written.");
                self.gone = true;
            }
        }
    }

    fn write(&mut self) {
        while !self.out.is_empty() && !self.gone {
            match self.stream.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
        self.gone |= self.leaves;
    }
}

/// Removes the socket of a dead instance. That of a living one, and anything else, is left alone.
fn clear_the_way(path: &Path) -> Result<(), SupervisorError> {
    let failed = |source| SupervisorError::ControlSocket { path: path.to_owned(), source };
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => {
            return Err(failed(io::Error::new(ErrorKind::AlreadyExists, "a file that is no socket has this name")));
        }
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SupervisorError::ControlSocketInUse { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}
