//! How many connections wait in a listening socket.

use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;

/// The first words of `struct tcp_info` (linux/tcp.h): eight bytes of flags, four words, and `tcpi_unacked`, which for a listening
/// socket is the length of its accept queue (tcp(7), TCP_INFO). The kernel copies as much as it is asked for.
type Head = [u32; 7];
/// Where the length stands.
const UNACKED: usize = 6;

/// The option, read as far as [`Head`] goes.
#[derive(Debug, Clone, Copy)]
struct TcpInfoHead;

nix::getsockopt_impl!(TcpInfoHead, libc::IPPROTO_TCP, libc::TCP_INFO, Head, GetStruct<Head>);

/// Connections that wait in the socket to be accepted; `None` if the system does not say.
pub(crate) fn waiting(listener: &impl AsFd) -> Option<u32> {
    getsockopt(listener, TcpInfoHead).ok()?.get(UNACKED).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn every_connection_that_nobody_accepted_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(waiting(&listener), Some(0));
        let clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert_eq!(waiting(&listener), Some(3));
        drop(listener.accept().unwrap());
        assert_eq!(waiting(&listener), Some(2));
        drop(clients);
        let (no_tcp, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(waiting(&no_tcp), None);
    }
}
