//! Listening sockets: one for each slot and public address, and one for the admin process.
//!
//! All sockets of an address form one SO_REUSEPORT group (socket(7)): the kernel spreads new connections over them. They
//! live as long as the supervisor, so the queue of a dead worker waits for its successor instead of being reset.

use std::io;
use std::net::SocketAddr;

use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::SupervisorError;
use crate::queue::waiting;

/// Connections that may wait in one queue, unless `net.core.somaxconn` is lower.
const BACKLOG_MAX: i32 = 4096;

const LISTEN: &str = "server.listen";
const ADMIN_LISTEN: &str = "admin.listen";

/// All listening sockets of an instance, close-on-exec and non-blocking.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// The sockets of each slot, in the order of the addresses.
    pub(crate) slots: Vec<Vec<OwnedFd>>,
    /// The public addresses with real ports.
    pub(crate) endpoints: Vec<SocketAddr>,
    /// Whether each address, if it is an IPv6 one, is for IPv6 alone.
    only_v6: Vec<bool>,
    /// The admin socket.
    pub(crate) admin: OwnedFd,
    /// Its address with its real port.
    pub(crate) admin_address: SocketAddr,
}

impl Listeners {
    /// Opens all sockets, or none. Port 0 takes a free port, the same for all slots.
    pub(crate) fn open(addresses: &[SocketAddr], slots: u16, admin: SocketAddr) -> Result<Self, SupervisorError> {
        let backlog = backlog();
        let mut opened: Vec<Vec<OwnedFd>> = (0..slots).map(|_| Vec::with_capacity(addresses.len())).collect();
        let mut endpoints = Vec::with_capacity(addresses.len());
        let mut only_v6s = Vec::with_capacity(addresses.len());
        for wanted in addresses {
            let only_v6 = addresses.iter().any(|other| other.is_ipv4() && other.port() == wanted.port());
            let failed = |source| refused(LISTEN, *wanted, source);
            probe(*wanted, only_v6).map_err(failed)?;
            let mut address = *wanted;
            for slot in &mut opened {
                let socket =
                    bound(address, only_v6, true).and_then(|socket| listening(socket, backlog)).map_err(failed)?;
                address = local_address(&socket).map_err(failed)?;
                slot.push(socket.into());
            }
            endpoints.push(address);
            only_v6s.push(only_v6);
        }
        let failed = |source| refused(ADMIN_LISTEN, admin, source);
        let socket = bound(admin, false, false).and_then(|socket| listening(socket, backlog)).map_err(failed)?;
        let admin_address = local_address(&socket).map_err(failed)?;
        Ok(Self { slots: opened, endpoints, only_v6: only_v6s, admin: socket.into(), admin_address })
    }

    /// Opens the sockets of a further slot, all or none.
    pub(crate) fn open_slot(&mut self) -> io::Result<()> {
        let backlog = backlog();
        let sockets = self.endpoints.iter().zip(&self.only_v6).map(|(address, only_v6)| {
            let socket = bound(*address, *only_v6, true).and_then(|socket| listening(socket, backlog))?;
            Ok(OwnedFd::from(socket))
        });
        let sockets = sockets.collect::<io::Result<Vec<OwnedFd>>>()?;
        self.slots.push(sockets);
        Ok(())
    }

    /// Closes the sockets of the highest slot. What waits in them is reset.
    pub(crate) fn close_slot(&mut self) {
        self.slots.pop();
    }

    /// Connections that wait in the sockets of a slot.
    pub(crate) fn waiting(&self, slot: u16) -> u32 {
        self.slots.get(usize::from(slot)).into_iter().flatten().filter_map(waiting).sum()
    }
}

/// Fails if anybody listens to the address. A group lets any process of the same user join, so without this a second
/// instance would silently take half of the connections of the first.
fn probe(address: SocketAddr, only_v6: bool) -> io::Result<()> {
    if address.port() == 0 { Ok(()) } else { bound(address, only_v6, false).map(drop) }
}

fn bound(address: SocketAddr, only_v6: bool, share_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Connections of a previous instance may still be in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Without it `[::]` also takes IPv4, which is wanted unless IPv4 has its own entry.
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_port(share_port)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listening(socket: Socket, backlog: i32) -> io::Result<Socket> {
    socket.listen(backlog)?;
    Ok(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

fn refused(field: &'static str, address: SocketAddr, source: io::Error) -> SupervisorError {
    if source.kind() == io::ErrorKind::AddrInUse {
        SupervisorError::AddressInUse { field, address, source }
    } else {
        SupervisorError::Listen { field, address, source }
    }
}

/// The kernel would lower a larger number silently.
fn backlog() -> i32 {
    let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    somaxconn.ok().and_then(|text| text.trim().parse::<i32>().ok()).map_or(BACKLOG_MAX, |most| most.min(BACKLOG_MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    fn any(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn port_zero_gives_all_slots_one_port_and_each_address_its_own() {
        let open = Listeners::open(&[any("127.0.0.1:0"), any("127.0.0.1:0")], 3, any("127.0.0.1:0")).unwrap();
        assert_ne!(open.endpoints[0], open.endpoints[1]);
        for slot in &open.slots {
            let ports: Vec<SocketAddr> =
                slot.iter().map(|fd| TcpListener::from(fd.try_clone().unwrap()).local_addr().unwrap()).collect();
            assert_eq!(ports, open.endpoints);
        }
        assert_ne!(open.admin_address.port(), 0);
    }

    #[test]
    fn a_second_binder_is_refused_even_though_the_port_is_shared() {
        let first = Listeners::open(&[any("127.0.0.1:0")], 2, any("127.0.0.1:0")).unwrap();
        let again = Listeners::open(&first.endpoints, 2, any("127.0.0.1:0")).unwrap_err();
        assert!(matches!(&again, SupervisorError::AddressInUse { field: LISTEN, .. }), "{again}");
        assert_eq!(again.exit_code(), 69);
        let admin = Listeners::open(&[any("127.0.0.1:0")], 1, first.admin_address).unwrap_err();
        assert!(matches!(admin, SupervisorError::AddressInUse { field: ADMIN_LISTEN, .. }));
        let foreign = Listeners::open(&[any("192.0.2.1:80")], 1, any("127.0.0.1:0")).unwrap_err();
        assert_eq!(foreign.exit_code(), 78, "{foreign}");
    }

    #[test]
    fn slots_can_be_added_and_the_highest_closed() {
        let mut open = Listeners::open(&[any("127.0.0.1:0"), any("[::1]:0")], 1, any("127.0.0.1:0")).unwrap();
        open.open_slot().unwrap();
        assert_eq!(open.slots[1].len(), 2);
        let clients: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(open.endpoints[0]).unwrap()).collect();
        assert!(open.waiting(1) > 0 && open.waiting(0) + open.waiting(1) == 64);
        open.close_slot();
        assert_eq!((open.slots.len(), open.waiting(1)), (1, 0));
        drop(clients);
    }

    #[test]
    fn the_address_can_be_taken_again_at_once() {
        let first = Listeners::open(&[any("127.0.0.1:0")], 2, any("127.0.0.1:0")).unwrap();
        let endpoints = first.endpoints.clone();
        let client = TcpStream::connect(endpoints[0]).unwrap();
        drop(first);
        drop(client);
        Listeners::open(&endpoints, 2, any("127.0.0.1:0")).unwrap();
    }

    #[test]
    fn a_held_socket_queues_what_comes_while_no_worker_accepts() {
        let open = Listeners::open(&[any("127.0.0.1:0")], 1, any("127.0.0.1:0")).unwrap();
        let mut client = TcpStream::connect(open.endpoints[0]).unwrap();
        client.write_all(b"early").unwrap();
        let worker = TcpListener::from(open.slots[0][0].try_clone().unwrap());
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut accepted = loop {
            match worker.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => {
                    assert!(error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline, "{error}")
                }
            }
        };
        accepted.set_nonblocking(false).unwrap();
        let mut bytes = [0; 5];
        accepted.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"early");
    }
}
