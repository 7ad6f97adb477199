#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use std::io::IoSliceMut;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::*;

/// A manager with a socket in a folder, and what is told to it.
struct Stage {
    _dir: tempfile::TempDir,
    socket: UnixDatagram,
    manager: ServiceManager,
}

impl Stage {
    fn new(watchdog_us: Option<u64>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { _dir: dir, socket, manager: ServiceManager::new(Some(path.as_os_str()), watchdog_us) }
    }

    /// The messages since the last call.
    fn heard(&self) -> Vec<String> {
        received(&self.socket).into_iter().map(|(text, _)| text).collect()
    }
}

fn received(socket: &UnixDatagram) -> Vec<(String, Vec<OwnedFd>)> {
    let mut all = Vec::new();
    loop {
        let (mut bytes, mut space) = ([0; 4096], [MaybeUninit::uninit(); cmsg_space!(ScmRights(MESSAGE_FDS))]);
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(&mut bytes)];
        let Ok(got) = recvmsg(socket, &mut pieces, &mut control, RecvFlags::DONTWAIT) else { return all };
        let fds = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        let fds = fds.collect();
        all.push((String::from_utf8(bytes[..got.bytes].to_vec()).unwrap(), fds));
    }
}

fn picture(life: Life, status: &str) -> Picture {
    Picture { life, works: true, status: status.to_owned() }
}

#[test]
fn a_life_is_told_once_with_its_status() {
    let mut stage = Stage::new(None);
    for (life, status) in [(Life::Starting, "a"), (Life::Serving, "b"), (Life::Serving, "b")] {
        stage.manager.tell(&picture(life, status), 0);
    }
    assert_eq!(stage.heard(), ["STATUS=a", "EXTEND_TIMEOUT_USEC=10000000", "READY=1\nSTATUS=b"]);
    let before_us = monotonic_us();
    stage.manager.tell(&picture(Life::Reloading, "c"), 1_000);
    let reloading = stage.heard();
    let (head, status) = reloading[0].split_once("\nSTATUS=").unwrap();
    let time_us: u64 = head.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
    assert_eq!((status, &reloading[1..]), ("c", &["EXTEND_TIMEOUT_USEC=10000000".to_owned()][..]));
    assert!((before_us..=monotonic_us()).contains(&time_us));
    stage.manager.tell(&picture(Life::Serving, "b"), 1_500);
    stage.manager.tell(&picture(Life::Stopping, "d"), 1_600);
    stage.manager.tell(&picture(Life::Stopping, "d"), 2_000);
    assert_eq!(
        stage.heard(),
        ["READY=1\nSTATUS=b", "STOPPING=1\nSTATUS=d", "EXTEND_TIMEOUT_USEC=10000000"],
        "more time is asked for once a second"
    );
}

#[test]
fn the_status_changes_at_most_once_a_second_and_ends_up_true() {
    let mut stage = Stage::new(None);
    stage.manager.tell(&picture(Life::Serving, "2 of 2"), 0);
    for now_ms in (0..3_000).step_by(50) {
        let status = if now_ms < 1_950 { format!("at {now_ms}") } else { "2 of 2".to_owned() };
        stage.manager.tell(&picture(Life::Serving, &status), now_ms);
    }
    assert_eq!(stage.heard(), ["READY=1\nSTATUS=2 of 2", "STATUS=at 1000", "STATUS=2 of 2"]);
}

#[test]
fn the_watchdog_is_fed_at_half_its_interval_and_only_while_the_instance_works() {
    let mut stage = Stage::new(Some(2_000_000));
    let mut works = picture(Life::Serving, "");
    for now_ms in (0..=3_000).step_by(50) {
        works.works = now_ms <= 2_000;
        stage.manager.tell(&works, now_ms);
    }
    let fed = stage.heard().iter().filter(|message| *message == "WATCHDOG=1").count();
    assert_eq!(fed, 3, "at 0, 1000 and 2000 ms");
}

#[test]
fn descriptors_are_kept_by_name_and_given_back_when_they_are_closed() {
    let mut stage = Stage::new(None);
    let listeners = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    let named = |which: &[(&str, usize)]| -> Vec<_> {
        which.iter().map(|(name, at)| ((*name).to_owned(), listeners[*at].as_fd())).collect()
    };
    stage.manager.keep(named(&[("slot-1", 2), ("slot-0", 0), ("slot-0", 1)]), 0);
    stage.manager.keep(named(&[("slot-1", 2), ("slot-0", 0), ("slot-0", 1)]), 5_000);
    let told = received(&stage.socket);
    let texts: Vec<&str> = told.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(texts, ["FDSTORE=1\nFDNAME=slot-0", "FDSTORE=1\nFDNAME=slot-1"], "once each");
    let port = |fd: &OwnedFd| std::net::TcpListener::from(fd.try_clone().unwrap()).local_addr().unwrap().port();
    let mut given: Vec<u16> = told.iter().flat_map(|(_, fds)| fds).map(port).collect();
    given[..2].sort_unstable();
    let mut first = ports[..2].to_vec();
    first.sort_unstable();
    assert_eq!((&given[..2], given[2]), (first.as_slice(), ports[2]));
    stage.manager.keep(named(&[("slot-0", 0)]), 5_050);
    let told = received(&stage.socket);
    let texts: Vec<(&str, usize)> = told.iter().map(|(text, fds)| (text.as_str(), fds.len())).collect();
    let remove = |name: &str| format!("FDSTOREREMOVE=1\nFDNAME={name}");
    let (first, second) = (remove("slot-0"), remove("slot-1"));
    assert_eq!(texts, [(first.as_str(), 0), (second.as_str(), 0), ("FDSTORE=1\nFDNAME=slot-0", 1)]);
}

#[test]
fn what_does_not_fit_into_the_socket_is_told_later_and_nothing_waits() {
    let mut stage = Stage::new(None);
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    let path = stage.socket.local_addr().unwrap().as_pathname().unwrap().to_owned();
    let mut queued = 0;
    while sender.send_to(b"X", &path).is_ok() {
        queued += 1;
    }
    stage.manager.keep(vec![("slot-0".to_owned(), sender.as_fd())], 0);
    stage.manager.tell(&picture(Life::Serving, "b"), 0);
    assert!(stage.manager.owes());
    assert_eq!(stage.heard().len(), queued, "nothing of it was sent");
    stage.manager.keep(vec![("slot-0".to_owned(), sender.as_fd())], 50);
    stage.manager.tell(&picture(Life::Serving, "b"), 50);
    assert_eq!(stage.heard(), ["FDSTORE=1\nFDNAME=slot-0", "READY=1\nSTATUS=b"]);
    assert!(!stage.manager.owes());
}

#[test]
fn a_manager_that_is_away_or_of_another_kind_does_no_harm() {
    for address in [None, Some(""), Some("vsock:2:1"), Some("/nowhere/notify"), Some("@task-mcp-nobody-listens")] {
        let mut manager = ServiceManager::new(address.map(OsStr::new), Some(1_000));
        manager.keep(vec![("slot-0".to_owned(), std::io::stdin().as_fd())], 0);
        manager.tell(&picture(Life::Serving, "b"), 0);
        assert_eq!(manager.owes(), address.is_some_and(|address| address.starts_with(['/', '@'])), "{address:?}");
    }
}

#[test]
fn an_abstract_socket_is_reached() {
    let name = format!("task-mcp-notify-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let mut manager = ServiceManager::new(Some(OsStr::new(&format!("@{name}"))), None);
    manager.tell(&picture(Life::Serving, "b"), 0);
    assert_eq!(received(&socket)[0].0, "READY=1\nSTATUS=b");
}
