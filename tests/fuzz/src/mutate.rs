//! How an input is changed.

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};

/// Most changes at once.
const CHANGES_MAX: u32 = 6;
/// Longest part that is moved, removed or repeated at once, in bytes.
const PART_BYTES_MAX: usize = 64;

/// A changed copy of `input`, of at most `bytes_max` bytes; `other` lends parts to it.
pub(crate) fn mutated(rng: &mut StdRng, input: &[u8], other: &[u8], words: &[&str], bytes_max: usize) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.random_range(1..=CHANGES_MAX) {
        change(rng, &mut bytes, other, words);
        bytes.truncate(bytes_max);
    }
    bytes
}

fn change(rng: &mut StdRng, bytes: &mut Vec<u8>, other: &[u8], words: &[&str]) {
    let at = rng.random_range(0..=bytes.len());
    match rng.random_range(0..10) {
        0 => replace(bytes, at, |byte| byte ^ (1 << (rng.next_u32() % 8))),
        1 => replace(bytes, at, |_| rng.random()),
        // Values at which lengths and signs change.
        2 => replace(bytes, at, |_| *pick(rng, &[0, 1, 0x7f, 0x80, 0xff, b'0', b'"', b'\\']).unwrap_or(&0)),
        3 => bytes.insert(at, rng.random()),
        4 => drop(bytes.drain(part(rng, bytes.len(), at))),
        5 => bytes.truncate(at),
        6 => {
            let word = pick(rng, words).copied().unwrap_or_default();
            splice(bytes, at, word.as_bytes());
        }
        7 => {
            let repeated = bytes.get(part(rng, bytes.len(), at)).unwrap_or_default().to_vec();
            splice(bytes, at, &repeated);
        }
        8 => {
            let from = rng.random_range(0..=other.len());
            let lent = other.get(part(rng, other.len(), from)).unwrap_or_default();
            splice(bytes, at, lent);
        }
        _ => {
            // The head of one, the tail of the other.
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(at..).unwrap_or_default());
        }
    }
}

fn replace(bytes: &mut [u8], at: usize, with: impl FnOnce(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = with(*byte);
    }
}

fn splice(bytes: &mut Vec<u8>, at: usize, more: &[u8]) {
    drop(bytes.splice(at..at, more.iter().copied()));
}

/// A part of so many bytes that begins at `at`.
fn part(rng: &mut StdRng, length: usize, at: usize) -> std::ops::Range<usize> {
    at..at + rng.random_range(0..=PART_BYTES_MAX.min(length - at))
}

/// One of these; none of none.
pub(crate) fn pick<'a, T>(rng: &mut StdRng, all: &'a [T]) -> Option<&'a T> {
    if all.is_empty() { None } else { all.get(rng.random_range(0..all.len())) }
}
