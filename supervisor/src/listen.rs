//! Listening sockets: one for each slot and public address, and one for the admin process.
//!
//! All sockets of an address form one SO_REUSEPORT group (socket(7)): the kernel spreads new connections over them. They
//! live as long as their slot and as long as any settings in force name the address, so the queue of a dead worker waits for its
//! successor instead of being reset.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::SupervisorError;
use crate::queue::waiting;
use crate::spawn::take_over;

/// Connections that may wait in one queue, unless `net.core.somaxconn` is lower.
const BACKLOG_MAX: i32 = 4096;

const LISTEN: &str = "server.listen";
const ADMIN_LISTEN: &str = "admin.listen";

/// All listening sockets of an instance, close-on-exec and non-blocking.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// The groups by number; numbers are not used again.
    groups: BTreeMap<u64, Group>,
    admins: BTreeMap<u64, Admin>,
    /// What the settings of a revision listen to.
    sets: BTreeMap<u64, Set>,
    next: u64,
    slots: u16,
}

/// The sockets of one public address, by slot.
#[derive(Debug)]
pub(crate) struct Group {
    /// The address as the settings name it; its port may be 0.
    wanted: SocketAddr,
    /// The address with its real port.
    address: SocketAddr,
    /// Whether an IPv6 address is for IPv6 alone.
    only_v6: bool,
    sockets: Vec<OwnedFd>,
}

#[derive(Debug)]
struct Admin {
    wanted: SocketAddr,
    address: SocketAddr,
    socket: OwnedFd,
}

/// The groups of a revision in the order of its addresses, and its admin socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Set {
    groups: Vec<u64>,
    admin: u64,
}

/// All listening sockets as data; descriptors are numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedListeners {
    groups: Vec<(u64, SavedGroup)>,
    /// Number, wanted address, real address, socket.
    admins: Vec<(u64, SocketAddr, SocketAddr, RawFd)>,
    sets: Vec<(u64, Set)>,
    next: u64,
    slots: u16,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedGroup {
    wanted: SocketAddr,
    address: SocketAddr,
    only_v6: bool,
    sockets: Vec<RawFd>,
}

/// Listening sockets that an earlier supervisor left, by the names they have in the service manager's store.
#[derive(Debug, Default)]
pub(crate) struct Inherited(pub(crate) Vec<(String, OwnedFd)>);

impl Inherited {
    /// Takes the socket of this name that listens to this address.
    fn take(&mut self, name: &str, address: SocketAddr) -> Option<OwnedFd> {
        let fits = |(named, fd): &(String, OwnedFd)| {
            let socket = SockRef::from(fd);
            named == name
                && socket.is_listener().unwrap_or(false)
                && socket.local_addr().is_ok_and(|local| local.as_socket() == Some(address))
        };
        let at = self.0.iter().position(fits)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Closes the sockets of slots that listen to this address.
    fn discard(&mut self, address: SocketAddr) {
        let fits = |(name, fd): &mut (String, OwnedFd)| {
            let local = SockRef::from(&*fd).local_addr();
            name.starts_with(SLOT_PREFIX) && local.is_ok_and(|local| local.as_socket() == Some(address))
        };
        self.0.extract_if(.., fits).for_each(|(_, socket)| close(socket));
    }
}

const SLOT_PREFIX: &str = "slot-";

/// The name of a slot's sockets in the service manager's store.
pub(crate) fn slot_name(slot: u16) -> String {
    format!("{SLOT_PREFIX}{slot}")
}

/// The name of the admin socket in the service manager's store.
pub(crate) const ADMIN_NAME: &str = "admin";

impl Listeners {
    /// Opens all sockets of the first settings, or none. Port 0 takes a free port, the same for all slots. A socket that was
    /// inherited is used as it is, with what waits in it.
    pub(crate) fn open(
        revision: u64,
        addresses: &[SocketAddr],
        slots: u16,
        admin: SocketAddr,
        inherited: &mut Inherited,
    ) -> Result<Self, SupervisorError> {
        let mut listeners =
            Self { groups: BTreeMap::new(), admins: BTreeMap::new(), sets: BTreeMap::new(), next: 0, slots };
        listeners.extend(revision, addresses, admin, inherited)?;
        Ok(listeners)
    }

    /// Opens what the settings of a further revision listen to and none before does, for all slots; or nothing.
    pub(crate) fn extend(
        &mut self,
        revision: u64,
        addresses: &[SocketAddr],
        admin: SocketAddr,
        inherited: &mut Inherited,
    ) -> Result<(), SupervisorError> {
        let before: Vec<u64> = self.groups.keys().chain(self.admins.keys()).copied().collect();
        let extended = self.open_set(addresses, admin, inherited);
        match extended {
            Ok(set) => drop(self.sets.insert(revision, set)),
            Err(error) => {
                self.groups.retain(|number, _| before.contains(number));
                self.admins.retain(|number, _| before.contains(number));
                return Err(error);
            }
        }
        Ok(())
    }

    fn open_set(
        &mut self,
        addresses: &[SocketAddr],
        admin: SocketAddr,
        inherited: &mut Inherited,
    ) -> Result<Set, SupervisorError> {
        let mut groups: Vec<u64> = Vec::with_capacity(addresses.len());
        for wanted in addresses {
            let only_v6 =
                wanted.is_ipv6() && addresses.iter().any(|other| other.is_ipv4() && other.port() == wanted.port());
            let same = |(number, group): (&u64, &Group)| {
                let fits = group.wanted == *wanted && group.only_v6 == only_v6 && !groups.contains(number);
                fits.then_some(*number)
            };
            let number = match self.groups.iter().find_map(same) {
                Some(number) => number,
                None => {
                    let group = Group::open(*wanted, only_v6, self.slots, inherited)
                        .map_err(|source| refused(LISTEN, *wanted, source))?;
                    let number = self.number();
                    self.groups.insert(number, group);
                    number
                }
            };
            groups.push(number);
        }
        let same = self.admins.iter().find_map(|(number, open)| (open.wanted == admin).then_some(*number));
        let admin = match same {
            Some(number) => number,
            None => {
                let open = Admin::open(admin, inherited).map_err(|source| refused(ADMIN_LISTEN, admin, source))?;
                let number = self.number();
                self.admins.insert(number, open);
                number
            }
        };
        Ok(Set { groups, admin })
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// All sockets as data, for the program that takes over.
    pub(crate) fn save(&self) -> SavedListeners {
        let group = |(number, group): (&u64, &Group)| {
            let sockets = group.sockets.iter().map(AsRawFd::as_raw_fd).collect();
            (*number, SavedGroup { wanted: group.wanted, address: group.address, only_v6: group.only_v6, sockets })
        };
        let admin = |(number, open): (&u64, &Admin)| (*number, open.wanted, open.address, open.socket.as_raw_fd());
        SavedListeners {
            groups: self.groups.iter().map(group).collect(),
            admins: self.admins.iter().map(admin).collect(),
            sets: self.sets.iter().map(|(revision, set)| (*revision, set.clone())).collect(),
            next: self.next,
            slots: self.slots,
        }
    }

    /// Takes them over.
    pub(crate) fn restore(saved: SavedListeners) -> io::Result<Self> {
        let SavedListeners { groups, admins, sets, next, slots } = saved;
        let group = |(number, saved): (u64, SavedGroup)| {
            let SavedGroup { wanted, address, only_v6, sockets } = saved;
            let sockets = sockets.into_iter().map(take_over).collect::<io::Result<_>>()?;
            Ok((number, Group { wanted, address, only_v6, sockets }))
        };
        let admin =
            |(number, wanted, address, socket)| Ok((number, Admin { wanted, address, socket: take_over(socket)? }));
        Ok(Self {
            groups: groups.into_iter().map(group).collect::<io::Result<_>>()?,
            admins: admins.into_iter().map(admin).collect::<io::Result<_>>()?,
            sets: sets.into_iter().collect(),
            next,
            slots,
        })
    }

    /// Closes what only the settings of this revision listen to.
    pub(crate) fn retire(&mut self, revision: u64) {
        self.sets.remove(&revision);
        let sets = &self.sets;
        let groups = self.groups.extract_if(.., |number, _| !sets.values().any(|set| set.groups.contains(number)));
        groups.flat_map(|(_, group)| group.sockets).for_each(close);
        let admins = self.admins.extract_if(.., |number, _| !sets.values().any(|set| set.admin == *number));
        admins.for_each(|(_, admin)| close(admin.socket));
    }

    /// The sockets of a slot in the order of the revision's addresses; `None` for a slot or a revision there is not.
    pub(crate) fn of_slot(&self, revision: u64, slot: u16) -> Option<Vec<BorrowedFd<'_>>> {
        let socket = |number: &u64| Some(self.groups.get(number)?.sockets.get(usize::from(slot))?.as_fd());
        self.sets.get(&revision)?.groups.iter().map(socket).collect()
    }

    /// The sockets of a slot, of all addresses that any settings in use name.
    pub(crate) fn sockets(&self, slot: u16) -> Vec<BorrowedFd<'_>> {
        self.groups.values().filter_map(|group| group.sockets.get(usize::from(slot))).map(AsFd::as_fd).collect()
    }

    /// The admin socket of a revision.
    pub(crate) fn admin(&self, revision: u64) -> Option<BorrowedFd<'_>> {
        Some(self.admins.get(&self.sets.get(&revision)?.admin)?.socket.as_fd())
    }

    /// The address of the admin socket of a revision, with its real port.
    pub(crate) fn admin_address(&self, revision: u64) -> Option<SocketAddr> {
        Some(self.admins.get(&self.sets.get(&revision)?.admin)?.address)
    }

    /// The public addresses of a revision in their order, with real ports.
    pub(crate) fn endpoints(&self, revision: u64) -> Vec<SocketAddr> {
        let set = self.sets.get(&revision);
        set.iter().flat_map(|set| &set.groups).filter_map(|number| Some(self.groups.get(number)?.address)).collect()
    }

    /// One socket of each group, with whether the settings of a revision have the group.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (BorrowedFd<'_>, impl Fn(u64) -> bool + '_)> {
        self.groups.iter().filter_map(move |(number, group)| {
            let has = move |revision: u64| self.sets.get(&revision).is_some_and(|set| set.groups.contains(number));
            Some((group.sockets.first()?.as_fd(), has))
        })
    }

    /// Every socket with its name in the service manager's store.
    pub(crate) fn named(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        let slots = self.groups.values().flat_map(|group| (0u16..).zip(&group.sockets));
        let admins = self.admins.values().map(|admin| (ADMIN_NAME.to_owned(), admin.socket.as_fd()));
        slots.map(|(slot, socket)| (slot_name(slot), socket.as_fd())).chain(admins)
    }

    /// Opens the sockets of a further slot, all or none.
    pub(crate) fn open_slot(&mut self) -> io::Result<()> {
        let opened = self.groups.values().map(Group::further).collect::<io::Result<Vec<OwnedFd>>>()?;
        for (group, socket) in self.groups.values_mut().zip(opened) {
            group.sockets.push(socket);
        }
        self.slots += 1;
        Ok(())
    }

    /// Closes the sockets of the highest slot. What waits in them is reset.
    pub(crate) fn close_slot(&mut self) {
        self.groups.values_mut().filter_map(|group| group.sockets.pop()).for_each(close);
        self.slots = self.slots.saturating_sub(1);
    }

    /// Connections that wait in the sockets of a slot.
    pub(crate) fn waiting(&self, slot: u16) -> u32 {
        let sockets = self.groups.values().filter_map(|group| group.sockets.get(usize::from(slot)));
        sockets.filter_map(waiting).sum()
    }

    /// Connections that wait in the admin sockets.
    pub(crate) fn admin_waiting(&self) -> u32 {
        self.admins.values().filter_map(|admin| waiting(&admin.socket)).sum()
    }
}

impl Group {
    fn open(wanted: SocketAddr, only_v6: bool, slots: u16, inherited: &mut Inherited) -> io::Result<Self> {
        let mut group = Self { wanted, address: wanted, only_v6, sockets: Vec::with_capacity(usize::from(slots)) };
        // Those that were inherited come first, in the order they were opened in: a slot's number is its place in the group.
        while let Some(socket) = inherited.take(&slot_name(group.sockets.len() as u16), wanted) {
            group.sockets.push(socket);
        }
        // What is left of the address after a gap would have another place in the group than its name says.
        inherited.discard(wanted);
        if group.sockets.is_empty() {
            probe(wanted, only_v6)?;
        }
        while group.sockets.len() < usize::from(slots) {
            let socket = group.further()?;
            group.address = local_address(&socket)?;
            group.sockets.push(socket);
        }
        // More than there shall be: what waits in them is reset, as there is nobody to accept it.
        group.sockets.drain(usize::from(slots).min(group.sockets.len())..).for_each(close);
        Ok(group)
    }

    /// The socket of a further slot.
    fn further(&self) -> io::Result<OwnedFd> {
        Ok(bound(self.address, self.only_v6, true).and_then(|socket| listening(socket, backlog()))?.into())
    }
}

impl Admin {
    fn open(wanted: SocketAddr, inherited: &mut Inherited) -> io::Result<Self> {
        let socket = match inherited.take(ADMIN_NAME, wanted) {
            Some(socket) => socket,
            None => bound(wanted, false, false).and_then(|socket| listening(socket, backlog()))?.into(),
        };
        Ok(Self { wanted, address: local_address(&socket)?, socket })
    }
}

/// Closes a socket for good. The service manager may hold a duplicate for a while: shut down, the socket leaves its group at
/// once, and the manager lets go of it.
pub(crate) fn close(socket: OwnedFd) {
    // It fails for what is no socket, or listens no more.
    let _ = SockRef::from(&socket).shutdown(Shutdown::Read);
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

fn local_address(socket: &impl AsFd) -> io::Result<SocketAddr> {
    SockRef::from(socket).local_addr()?.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
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

    fn open(addresses: &[SocketAddr], slots: u16, admin: SocketAddr) -> Result<Listeners, SupervisorError> {
        Listeners::open(1, addresses, slots, admin, &mut Inherited::default())
    }

    fn listener(fd: BorrowedFd<'_>) -> TcpListener {
        TcpListener::from(fd.try_clone_to_owned().unwrap())
    }

    #[test]
    fn port_zero_gives_all_slots_one_port_and_each_address_its_own() {
        let open = open(&[any("127.0.0.1:0"), any("127.0.0.1:0")], 3, any("127.0.0.1:0")).unwrap();
        let endpoints = open.endpoints(1);
        assert_ne!(endpoints[0], endpoints[1]);
        for slot in 0..3 {
            let sockets = open.of_slot(1, slot).unwrap();
            let ports: Vec<SocketAddr> = sockets.into_iter().map(|fd| listener(fd).local_addr().unwrap()).collect();
            assert_eq!(ports, endpoints);
        }
        assert!(open.of_slot(1, 3).is_none() && open.of_slot(2, 0).is_none());
        assert_ne!(open.admin_address(1).unwrap().port(), 0);
    }

    #[test]
    fn a_second_binder_is_refused_even_though_the_port_is_shared() {
        let first = open(&[any("127.0.0.1:0")], 2, any("127.0.0.1:0")).unwrap();
        let again = open(&first.endpoints(1), 2, any("127.0.0.1:0")).unwrap_err();
        assert!(matches!(&again, SupervisorError::AddressInUse { field: LISTEN, .. }), "{again}");
        assert_eq!(again.exit_code(), 69);
        let admin = open(&[any("127.0.0.1:0")], 1, first.admin_address(1).unwrap()).unwrap_err();
        assert!(matches!(admin, SupervisorError::AddressInUse { field: ADMIN_LISTEN, .. }));
        let foreign = open(&[any("192.0.2.1:80")], 1, any("127.0.0.1:0")).unwrap_err();
        assert_eq!(foreign.exit_code(), 78, "{foreign}");
    }

    #[test]
    fn slots_can_be_added_and_the_highest_closed() {
        let mut opened = open(&[any("127.0.0.1:0"), any("[::1]:0")], 1, any("127.0.0.1:0")).unwrap();
        opened.open_slot().unwrap();
        assert_eq!(opened.of_slot(1, 1).unwrap().len(), 2);
        let address = opened.endpoints(1)[0];
        let clients: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert!(opened.waiting(1) > 0 && opened.waiting(0) + opened.waiting(1) == 64);
        opened.close_slot();
        assert_eq!((opened.slots, opened.waiting(1)), (1, 0));
        drop(clients);
    }

    #[test]
    fn the_address_can_be_taken_again_at_once() {
        let first = open(&[any("127.0.0.1:0")], 2, any("127.0.0.1:0")).unwrap();
        let endpoints = first.endpoints(1);
        let client = TcpStream::connect(endpoints[0]).unwrap();
        drop(first);
        drop(client);
        open(&endpoints, 2, any("127.0.0.1:0")).unwrap();
    }

    #[test]
    fn a_held_socket_queues_what_comes_while_no_worker_accepts() {
        let open = open(&[any("127.0.0.1:0")], 1, any("127.0.0.1:0")).unwrap();
        let mut client = TcpStream::connect(open.endpoints(1)[0]).unwrap();
        client.write_all(b"early").unwrap();
        let worker = listener(open.of_slot(1, 0).unwrap()[0]);
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

    #[test]
    fn other_settings_keep_what_they_share_and_close_what_only_the_old_ones_had() {
        let (one, two) = (any("127.0.0.1:0"), any("[::1]:0"));
        let mut opened = open(&[one], 2, any("127.0.0.1:0")).unwrap();
        let (kept, admin) = (opened.endpoints(1)[0], opened.admin_address(1));
        opened.extend(2, &[two, one], any("127.0.0.1:0"), &mut Inherited::default()).unwrap();
        assert_eq!((opened.endpoints(2)[1], opened.admin_address(2)), (kept, admin));
        let added = opened.endpoints(2)[0];
        let taken = open(&[any("127.0.0.1:0")], 1, any("127.0.0.1:0")).unwrap();
        let failed = opened.extend(3, &[any("127.0.0.2:0"), taken.endpoints(1)[0]], one, &mut Inherited::default());
        assert!(matches!(failed, Err(SupervisorError::AddressInUse { .. })));
        assert_eq!((opened.groups.len(), opened.admins.len()), (2, 1), "all or nothing");
        opened.retire(2);
        assert!(TcpStream::connect(added).is_err() && TcpStream::connect(kept).is_ok());
        opened.extend(4, &[two], any("127.0.0.1:0"), &mut Inherited::default()).unwrap();
        opened.retire(1);
        assert!(TcpStream::connect(kept).is_err() && opened.of_slot(4, 1).unwrap().len() == 1);
    }

    #[test]
    fn a_closed_slot_gets_no_connection_though_its_socket_is_held_elsewhere() {
        let mut open = open(&[any("127.0.0.1:0")], 2, any("127.0.0.1:0")).unwrap();
        let held = open.of_slot(1, 1).unwrap()[0].try_clone_to_owned().unwrap();
        open.close_slot();
        let endpoint = open.endpoints(1)[0];
        let clients: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(endpoint).unwrap()).collect();
        assert_eq!((open.waiting(0), SockRef::from(&held).is_listener().unwrap()), (64, false));
        drop(clients);
    }

    #[test]
    fn inherited_sockets_are_used_with_what_waits_in_them() {
        let left = open(&[any("127.0.0.1:0")], 2, any("127.0.0.1:0")).unwrap();
        let (endpoints, admin) = (left.endpoints(1), left.admin_address(1).unwrap());
        let clients: Vec<TcpStream> = (0..16).map(|_| TcpStream::connect(endpoints[0]).unwrap()).collect();
        let mut names: Vec<(String, OwnedFd)> =
            left.named().map(|(name, fd)| (name, fd.try_clone_to_owned().unwrap())).collect();
        names.reverse();
        names.push(("slot-7".into(), std::fs::File::open("/dev/null").unwrap().into()));
        drop(left);
        let mut inherited = Inherited(names);
        let again = Listeners::open(1, &endpoints, 3, admin, &mut inherited).unwrap();
        assert_eq!(again.waiting(0) + again.waiting(1) + again.waiting(2), 16);
        assert_eq!((again.endpoints(1), inherited.0.len()), (endpoints, 1));
        drop(clients);
    }

    #[test]
    fn after_a_gap_what_was_inherited_is_closed_so_that_numbers_stay_places() {
        let left = open(&[any("127.0.0.1:0")], 4, any("127.0.0.1:0")).unwrap();
        let (endpoints, admin) = (left.endpoints(1), left.admin_address(1).unwrap());
        let names = left.named().filter(|(name, _)| name != "slot-1");
        let names = names.map(|(name, fd)| (name, fd.try_clone_to_owned().unwrap())).collect();
        drop(left);
        let again = Listeners::open(1, &endpoints, 4, admin, &mut Inherited(names)).unwrap();
        for slot in 0..4 {
            let mut steering = crate::steering::Steering::default();
            steering.steer(&again.of_slot(1, 0).unwrap()[0], &[slot]);
            let clients: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(endpoints[0]).unwrap()).collect();
            assert_eq!(again.waiting(slot), 8, "slot {slot}");
            drop(clients);
        }
    }
}
