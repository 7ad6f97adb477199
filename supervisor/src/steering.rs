//! Which slot gets a new connection: a classic BPF program on the SO_REUSEPORT group of each address.
//!
//! Left alone, the kernel spreads connections over all sockets of a group by hash, also over those nobody accepts from. The
//! program picks at random among the slots that serve. It runs once for each connection, when its first packet comes:
//! handshakes under way still complete in the queue they began in, so replacing the program loses nothing, and the
//! kernel replaces it atomically. It needs no privilege (socket(7), SO_ATTACH_REUSEPORT_CBPF, Linux 4.6).
//!
//! The program's result is an index into the group, which is the order of listen(2): the number of the slot, as long as
//! slots are opened in order and only the highest is ever closed.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::libc::{
    BPF_ABS, BPF_ALU, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_MOD, BPF_RET, BPF_W, SKF_AD_OFF, SKF_AD_RANDOM, sock_filter,
    sock_fprog,
};
use nix::sys::socket::{setsockopt, sockopt};
use tracing::warn;

use crate::step::MAX_SLOTS;

/// Shares are dealt in this many parts: with the most slots there may be, each has one.
const BUCKETS: u32 = 256;

const _: () = assert!(MAX_SLOTS as u32 <= BUCKETS, "a live slot without a bucket would be parked for ever");

/// Puts programs on the groups, and falls back to the kernel's hash.
#[derive(Debug, Default)]
pub(crate) struct Steering {
    /// The kernel refused a program for another reason than want of memory; it is not asked again.
    unsupported: bool,
}

impl Steering {
    /// Sends new connections of an address to these slots alone. `group` is a socket of any slot, which stands for the group.
    pub(crate) fn steer(&mut self, group: &impl AsFd, open: &[u16]) {
        if self.unsupported {
            return;
        }
        match attach(group, &program(open)) {
            Ok(()) => {}
            Err(errno @ (Errno::ENOMEM | Errno::ENOBUFS)) => {
                warn!(error = %errno, ?open, "Connections could not be steered; the last choice stays.");
            }
            Err(errno) => {
                self.unsupported = true;
                warn!(
                    error = %errno,
                    "This kernel does not steer connections (SO_ATTACH_REUSEPORT_CBPF): they go to all slots by \
                     hash, and those to a slot without a worker wait for the next one."
                );
            }
        }
    }
}

/// A program whose result is one of the slots, each with the same share of the buckets, or one bucket more. Without a
/// slot it leaves the choice to the kernel: an index beyond the group makes it fall back to its hash.
pub(crate) fn program(open: &[u16]) -> Vec<sock_filter> {
    let instruction = |code: u32, jt: u8, k: u32| sock_filter { code: code as u16, jt, jf: 0, k };
    let Some((last, others)) = open.split_last() else {
        return vec![instruction(BPF_RET | BPF_K, 0, u32::MAX)];
    };
    let mut program = Vec::with_capacity(3 + 2 * others.len());
    program.push(instruction(BPF_LD | BPF_W | BPF_ABS, 0, (SKF_AD_OFF + SKF_AD_RANDOM) as u32));
    program.push(instruction(BPF_ALU | BPF_MOD | BPF_K, 0, BUCKETS));
    let slots = open.len() as u32;
    for (slot, position) in others.iter().zip(1u32..) {
        program.push(instruction(BPF_JMP | BPF_JGE | BPF_K, 1, BUCKETS * position / slots));
        program.push(instruction(BPF_RET | BPF_K, 0, u32::from(*slot)));
    }
    program.push(instruction(BPF_RET | BPF_K, 0, u32::from(*last)));
    program
}

fn attach(group: &impl AsFd, program: &[sock_filter]) -> nix::Result<()> {
    // The kernel copies the program before the call returns and does not write to it, whatever the type of the pointer.
    let program =
        sock_fprog { len: program.len().try_into().map_err(|_| Errno::EINVAL)?, filter: program.as_ptr().cast_mut() };
    setsockopt(group, sockopt::AttachReusePortCbpf, &program)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use std::collections::BTreeMap;
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;
    use crate::listen::{Inherited, Listeners};

    /// Runs a program as the kernel does (filter.txt), for one random number.
    fn interpret(program: &[sock_filter], random: u32) -> u32 {
        let (mut a, mut at) = (0, 0);
        for _ in 0..=program.len() {
            let one = program[at];
            at += 1;
            match u32::from(one.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    assert_eq!(one.k as i32, SKF_AD_OFF + SKF_AD_RANDOM);
                    a = random;
                }
                code if code == BPF_ALU | BPF_MOD | BPF_K => a %= one.k,
                code if code == BPF_JMP | BPF_JGE | BPF_K => {
                    at += usize::from(if a >= one.k { one.jt } else { one.jf })
                }
                code if code == BPF_RET | BPF_K => return one.k,
                code => panic!("instruction {code:#x} at {at}"),
            }
        }
        panic!("no end")
    }

    fn shares(program: &[sock_filter]) -> BTreeMap<u32, u32> {
        (0..BUCKETS).fold(BTreeMap::new(), |mut shares, random| {
            *shares.entry(interpret(program, random)).or_default() += 1;
            shares
        })
    }

    #[test]
    fn one_slot_gets_everything_and_none_leaves_it_to_the_kernel() {
        assert_eq!(shares(&program(&[3])), BTreeMap::from([(3, BUCKETS)]));
        assert_eq!(interpret(&program(&[]), 7), u32::MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_outcome_is_an_open_slot_and_shares_differ_by_one_bucket(
            open in prop::collection::btree_set(0..MAX_SLOTS, 1..=usize::from(MAX_SLOTS)),
            random in any::<u32>(),
        ) {
            let open: Vec<u16> = open.into_iter().collect();
            let program = program(&open);
            prop_assert!(program.len() <= 4096, "BPF_MAXINSNS");
            prop_assert!(open.iter().any(|slot| u32::from(*slot) == interpret(&program, random)));
            let shares = shares(&program);
            prop_assert_eq!(shares.len(), open.len(), "every slot has a share");
            let (least, most) = (shares.values().min().unwrap(), shares.values().max().unwrap());
            prop_assert!(most - least <= 1, "{} to {}", least, most);
        }
    }

    /// Connects and counts what arrives in the queue of each slot.
    fn accepted(listeners: &Listeners, connections: usize) -> Vec<usize> {
        let clients: Vec<TcpStream> =
            (0..connections).map(|_| TcpStream::connect(listeners.endpoints(1)[0]).unwrap()).collect();
        let queues =
            (0..4).map(|slot| TcpListener::from(listeners.of_slot(1, slot).unwrap()[0].try_clone_to_owned().unwrap()));
        // A connection over loopback is in its queue before connect(2) returns.
        let counts = queues.map(|queue| std::iter::from_fn(|| queue.accept().ok()).count()).collect();
        drop(clients);
        counts
    }

    #[test]
    fn the_kernel_parks_slots_without_a_bucket_and_spreads_the_rest() {
        let any = "127.0.0.1:0".parse().unwrap();
        let listeners = Listeners::open(1, &[any], 4, any, &mut Inherited::default()).unwrap();
        let mut steering = Steering::default();
        steering.steer(&listeners.of_slot(1, 0).unwrap()[0], &[1, 3]);
        assert!(!steering.unsupported, "this kernel is one that steers");
        let counts = accepted(&listeners, 200);
        assert_eq!((counts[0], counts[2], counts[1] + counts[3]), (0, 0, 200), "{counts:?}");
        assert!(counts[1].min(counts[3]) >= 50, "an even coin falls below a quarter once in 10^12 runs: {counts:?}");
        // From another member of the group, at any time.
        steering.steer(&listeners.of_slot(1, 2).unwrap()[0], &[2]);
        assert_eq!(accepted(&listeners, 50), [0, 0, 50, 0]);
        steering.steer(&listeners.of_slot(1, 0).unwrap()[0], &[]);
        assert!(accepted(&listeners, 200).iter().all(|count| *count > 0), "the kernel's hash reaches all");
    }

    #[test]
    fn a_kernel_that_does_not_steer_is_asked_once() {
        let (not_tcp, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut steering = Steering::default();
        steering.steer(&not_tcp, &[0]);
        assert!(steering.unsupported, "a unix socket has no group: {:?}", attach(&not_tcp, &program(&[0])));
    }
}
