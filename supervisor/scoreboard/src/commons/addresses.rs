//! Open connections by client address and in all, exact over all processes of an instance.
//!
//! 512 rows of 16 words and 8192 cells of two. A row belongs to one process, whose id is its first word, so that every other word of
//! it has one writer, and what a dead process had open goes with its row. The second word of the first row is how many
//! rows were ever taken: nobody looks beyond.
//!
//! | word | writer | when its writer dies |
//! |---|---|---|
//! | owner | who takes the row, from 0; whoever reaped the owner, back to 0 when the row is cleared | the row counts until then |
//! | rows ever taken | any process, `fetch_max` | kept |
//! | open in all | the owner; whoever reaped it | what it had open is given back with the row |
//! | key and count of a cell | the owner; whoever reaped it | what it had open is given back with the row |
//!
//! A key has one of 32 neighbouring cells of each row, from a place that depends on the incarnation, so that nobody can choose
//! addresses that crowd each other. A cell whose count is 0 may be taken for another key: its key changes before its count does,
//! and a reader reads key, count and key. If the 32 cells are all taken, the last one counts for two addresses, which limits both
//! more here and is not seen by others: that takes thousands of addresses connected to one worker.
//!
//! Who opens a connection counts it first and then takes the sum; all of that is sequentially consistent, so of those that
//! count the last connection at the same time at least the last one sees all others: never more than the limit are open.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::memory::Region;

const ROWS: usize = 512;
const CELLS: usize = 8192;
const HEAD_WORDS: usize = 16;
const ROW_WORDS: usize = HEAD_WORDS + CELLS * 2;
pub(super) const WORDS: usize = ROWS * ROW_WORDS;
const OWNER: usize = 0;
const ROWS_TAKEN: usize = 1;
const OPEN: usize = 2;
/// Cells in which a key may be.
const WINDOW: usize = 32;
/// How often those that meet at the limit try again, so that not all lose.
const TRIES: usize = 8;

/// The connections. Cloning is cheap and shares the mapping.
#[derive(Debug, Clone)]
pub struct Addresses {
    region: Arc<Region>,
    at: usize,
    salt: u64,
}

/// What is counted as one client address: an IPv4 address, or the network of 64 bits of an IPv6 address, for that is what one
/// client commonly has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressKey(u64);

/// The row of one process. Its owner counts in it, one thread at a time.
#[derive(Debug)]
pub struct AddressRow {
    addresses: Addresses,
    row: usize,
}

/// A connection that was counted for its address; to be given back with [`AddressRow::close`].
#[derive(Debug)]
pub struct Held(usize);

/// A connection that was counted among all; to be given back with [`AddressRow::leave`].
#[derive(Debug)]
pub struct Place(());

impl AddressKey {
    /// The key of an address. An IPv4 address in the form of an IPv6 address is an IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // No network of that number is in use (RFC 4291, section 2.4), and no key is 0.
            IpAddr::V4(address) => Self(1 << 32 | u64::from(address.to_bits())),
            IpAddr::V6(address) => Self(((address.to_bits() >> 64) as u64).max(1)),
        }
    }
}

impl Addresses {
    pub(super) fn new(region: Arc<Region>, at: usize, salt: u64) -> Self {
        Self { region, at, salt }
    }

    /// Takes a row for process `owner`; `None` if there is none left.
    pub fn claim(&self, owner: u32) -> Option<AddressRow> {
        // Should an earlier process of the same number not have been noticed, its row is not this one's.
        self.forget(owner);
        let row = (0..ROWS).find(|row| {
            let word = self.region.word(self.word_of(*row, OWNER));
            word.is_some_and(|word| {
                word.compare_exchange(0, u64::from(owner), Ordering::SeqCst, Ordering::Relaxed).is_ok()
            })
        })?;
        if let Some(taken) = self.region.word(self.word_of(0, ROWS_TAKEN)) {
            taken.fetch_max(row as u64 + 1, Ordering::SeqCst);
        }
        Some(AddressRow { addresses: self.clone(), row })
    }

    /// Open connections of an address over all processes.
    pub fn count(&self, key: AddressKey) -> u64 {
        let row_count = |row: usize| if self.owner(row) == 0 { 0 } else { self.count_in(row, key) };
        (0..self.rows_taken()).map(row_count).sum()
    }

    /// Open connections in all, over all processes.
    pub fn total(&self) -> u64 {
        let row_total = |row: usize| if self.owner(row) == 0 { 0 } else { self.load(self.word_of(row, OPEN)) };
        (0..self.rows_taken()).map(row_total).sum()
    }

    /// The processes that have a row.
    pub fn owners(&self) -> Vec<u32> {
        let owner = |row| u32::try_from(self.owner(row)).ok().filter(|owner| *owner != 0);
        (0..self.rows_taken()).filter_map(owner).collect()
    }

    /// Gives back what a dead process had open. Only for whoever knows that it is dead, before its number is another's.
    pub fn forget(&self, owner: u32) {
        for row in (0..self.rows_taken()).filter(|row| self.owner(*row) == u64::from(owner)) {
            for cell in 0..CELLS {
                // Untouched memory stays untouched.
                for part in [1, 0] {
                    let at = self.cell(row, cell) + part;
                    if self.load(at) != 0 {
                        self.store(at, 0);
                    }
                }
            }
            self.store(self.word_of(row, OPEN), 0);
            self.store(self.word_of(row, OWNER), 0);
        }
    }

    fn rows_taken(&self) -> usize {
        (self.load(self.word_of(0, ROWS_TAKEN)) as usize).min(ROWS)
    }

    fn owner(&self, row: usize) -> u64 {
        self.load(self.word_of(row, OWNER))
    }

    fn count_in(&self, row: usize, key: AddressKey) -> u64 {
        let counts = self.window(key).map(|cell| {
            let at = self.cell(row, cell);
            if self.load(at) != key.0 {
                return 0;
            }
            let count = self.load(at + 1);
            if self.load(at) == key.0 { count } else { 0 }
        });
        counts.sum()
    }

    fn window(&self, key: AddressKey) -> impl Iterator<Item = usize> + use<> {
        let first = mix(key.0 ^ self.salt) as usize % CELLS;
        (0..WINDOW).map(move |step| (first + step) % CELLS)
    }

    fn cell(&self, row: usize, cell: usize) -> usize {
        self.word_of(row, HEAD_WORDS) + cell * 2
    }

    fn word_of(&self, row: usize, word: usize) -> usize {
        self.at + row * ROW_WORDS + word
    }

    fn load(&self, at: usize) -> u64 {
        self.region.word(at).map_or(0, |word| word.load(Ordering::SeqCst))
    }

    fn store(&self, at: usize, value: u64) {
        if let Some(word) = self.region.word(at) {
            word.store(value, Ordering::SeqCst);
        }
    }
}

impl AddressRow {
    /// Counts a connection of `key`, if all processes together have fewer than `limit`.
    pub fn open(&mut self, key: AddressKey, limit: u64) -> Option<Held> {
        let cell = self.cell_for(key);
        let addresses = &self.addresses;
        let at = addresses.cell(self.row, cell);
        // A cell that counts for two addresses is not among those of this one.
        let is_shared = addresses.load(at) != key.0;
        let sum = || addresses.count(key) + if is_shared { addresses.load(at + 1) } else { 0 };
        self.count_one(at + 1, limit, sum).then_some(Held(cell))
    }

    /// Counts a connection among all, if all processes together have fewer than `limit`.
    pub fn enter(&mut self, limit: u64) -> Option<Place> {
        let at = self.addresses.word_of(self.row, OPEN);
        self.count_one(at, limit, || self.addresses.total()).then_some(Place(()))
    }

    /// A connection has left.
    pub fn leave(&mut self, _place: Place) {
        self.one_less(self.addresses.word_of(self.row, OPEN));
    }

    /// Adds one to a word of this row, if the sum in which it counts is at most `limit` then.
    fn count_one(&self, at: usize, limit: u64, sum: impl Fn() -> u64) -> bool {
        let addresses = &self.addresses;
        for attempt in 0..TRIES {
            addresses.store(at, addresses.load(at) + 1);
            if sum() <= limit {
                return true;
            }
            self.one_less(at);
            if sum() >= limit {
                return false;
            }
            // Two that met at the limit part: each waits for a time of its own.
            (0..(self.row + 1) * (attempt + 1) * 16).for_each(|_| std::hint::spin_loop());
        }
        false
    }

    fn one_less(&self, at: usize) {
        self.addresses.store(at, self.addresses.load(at).saturating_sub(1));
    }

    /// A connection has ended.
    pub fn close(&mut self, held: Held) {
        self.one_less(self.addresses.cell(self.row, held.0) + 1);
    }

    /// The cell in which `key` counts in this row; it becomes its own if it has none and one is free.
    fn cell_for(&self, key: AddressKey) -> usize {
        let addresses = &self.addresses;
        let (mut free, mut last) = (None, 0);
        for cell in addresses.window(key) {
            let at = addresses.cell(self.row, cell);
            if addresses.load(at) == key.0 {
                return cell;
            }
            if free.is_none() && addresses.load(at + 1) == 0 {
                free = Some(cell);
            }
            last = cell;
        }
        let Some(free) = free else { return last };
        addresses.store(addresses.cell(self.row, free), key.0);
        free
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input reaches every bit of the output.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU64;

    use proptest::prelude::*;

    use super::*;
    use crate::Commons;

    fn key(text: &str) -> AddressKey {
        AddressKey::of(text.parse().unwrap())
    }

    #[test]
    fn an_address_is_an_ipv4_address_or_an_ipv6_network() {
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::2:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("::1"), key("0.0.0.0"));
        assert_ne!(key("::1").0, 0);
    }

    #[test]
    fn the_limit_holds_over_all_rows_and_what_is_closed_is_free_again() {
        let addresses = Commons::create().unwrap().addresses();
        let (mut one, mut two) = (addresses.claim(10).unwrap(), addresses.claim(11).unwrap());
        let mut held = vec![one.open(key("192.0.2.1"), 3).unwrap(), one.open(key("192.0.2.1"), 3).unwrap()];
        let third = two.open(key("192.0.2.1"), 3).unwrap();
        assert!(one.open(key("192.0.2.1"), 3).is_none() && two.open(key("192.0.2.1"), 3).is_none());
        assert!(two.open(key("192.0.2.2"), 3).is_some(), "others are not concerned");
        one.close(held.pop().unwrap());
        assert_eq!(addresses.count(key("192.0.2.1")), 2);
        two.close(third);
        assert!((0..2).all(|_| two.open(key("192.0.2.1"), 3).is_some()));
        assert_eq!(addresses.owners(), [10, 11]);
    }

    #[test]
    fn a_dead_process_gives_back_what_it_had_open_and_no_more() {
        let addresses = Commons::create().unwrap().addresses();
        let (mut one, mut two) = (addresses.claim(10).unwrap(), addresses.claim(11).unwrap());
        for row in [&mut one, &mut two] {
            assert!((0..2).all(|_| row.open(key("192.0.2.1"), 4).is_some()));
            assert!((0..3).all(|_| row.enter(6).is_some()) && addresses.total() >= 3);
        }
        assert!(two.enter(6).is_none());
        addresses.forget(10);
        assert_eq!((addresses.count(key("192.0.2.1")), addresses.owners()), (2, vec![11]));
        assert_eq!(addresses.total(), 3, "of all connections as well");
        let again = addresses.claim(12).unwrap();
        assert_eq!((again.row, addresses.total()), (one.row, 3), "its row is free again, and empty");
        assert!((0..3).all(|_| two.enter(6).is_some()) && two.enter(6).is_none());
    }

    #[test]
    fn a_row_whose_cells_are_taken_counts_two_addresses_in_one_cell() {
        let addresses = Commons::create().unwrap().addresses();
        let mut row = addresses.claim(10).unwrap();
        let crowded = key("192.0.2.1");
        let cells: Vec<usize> = addresses.window(crowded).collect();
        for cell in &cells {
            addresses.store(addresses.cell(0, *cell), 1 << 40);
            addresses.store(addresses.cell(0, *cell) + 1, 1);
        }
        let held = row.open(crowded, 3).unwrap();
        assert_eq!(held.0, cells[WINDOW - 1]);
        assert!(row.open(crowded, 3).is_some() && row.open(crowded, 3).is_none(), "it has the other's as well");
        row.close(held);
        assert!(row.open(crowded, 3).is_some());
    }

    #[test]
    fn of_many_processes_never_more_than_the_limit_have_it_open() {
        let commons = Commons::create().unwrap();
        let (open, most, opened) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let start = Barrier::new(4);
        std::thread::scope(|scope| {
            for pid in 1..=4 {
                let mut row = Commons::open(commons.try_clone_fd().unwrap()).unwrap().addresses().claim(pid).unwrap();
                let (open, most, opened, start) = (&open, &most, &opened, &start);
                scope.spawn(move || {
                    start.wait();
                    for _ in 0..20_000 {
                        // Two processors are enough for two to meet at a limit of one.
                        let Some(held) = row.open(key("192.0.2.1"), 1) else { continue };
                        most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        opened.fetch_add(1, Ordering::SeqCst);
                        open.fetch_sub(1, Ordering::SeqCst);
                        row.close(held);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 1);
        assert!(opened.into_inner() > 0, "it was had by somebody");
        assert_eq!(commons.addresses().count(key("192.0.2.1")), 0);
    }

    #[test]
    fn of_two_that_meet_at_the_limit_one_is_in() {
        const ROUNDS: usize = 5_000;
        let commons = Commons::create().unwrap();
        let winners: [AtomicU64; ROUNDS] = [const { AtomicU64::new(0) }; ROUNDS];
        let (meet, awake) = (Barrier::new(2), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for pid in 1..=2 {
                let mut row = Commons::open(commons.try_clone_fd().unwrap()).unwrap().addresses().claim(pid).unwrap();
                let (winners, meet, awake) = (&winners, &meet, &awake);
                scope.spawn(move || {
                    for (at, round) in (1..).zip(winners) {
                        meet.wait();
                        // A barrier wakes one after the other: wait a little until both are awake.
                        awake.fetch_add(1, Ordering::SeqCst);
                        (0..10_000)
                            .take_while(|_| awake.load(Ordering::SeqCst) < 2 * at)
                            .for_each(|_| std::hint::spin_loop());
                        let place = row.enter(1);
                        round.fetch_add(place.is_some().into(), Ordering::SeqCst);
                        meet.wait();
                        place.into_iter().for_each(|place| row.leave(place));
                    }
                });
            }
        });
        let is_one = |won: &AtomicU64| won.load(Ordering::SeqCst) == 1;
        assert_eq!(winners.iter().filter(|won| !is_one(won)).count(), 0);
        assert_eq!(commons.addresses().total(), 0);
    }

    /// Its id, its row, what it has open by address, and among all.
    type Process = (u32, AddressRow, Vec<(u8, Held, Place)>);

    proptest! {
        /// Rows open, close and die; the count is that of a list.
        #[test]
        fn it_counts_like_a_list(steps in prop::collection::vec((0_usize..3, 0_u8..4, 0_u8..10), 1..150)) {
            let addresses = Commons::create().unwrap().addresses();
            let mut next_pid = 10;
            let mut rows: Vec<Process> = Vec::new();
            for (index, address, what) in steps {
                if rows.len() < 3 {
                    rows.push((next_pid, addresses.claim(next_pid).unwrap(), Vec::new()));
                    next_pid += 1;
                    continue;
                }
                let key = key(&format!("10.0.0.{address}"));
                let open = |rows: &[Process]| {
                    rows.iter().flat_map(|row| &row.2).filter(|(one, ..)| *one == address).count() as u64
                };
                let total = |rows: &[Process]| rows.iter().map(|row| row.2.len()).sum::<usize>() as u64;
                let before_in_all = total(&rows);
                let before = open(&rows);
                let (pid, row, held) = &mut rows[index];
                match what {
                    0 => {
                        addresses.forget(*pid);
                        rows.remove(index);
                    }
                    1..4 => {
                        if let Some((_, one, place)) = held.pop() {
                            row.close(one);
                            row.leave(place);
                        }
                    }
                    _ => {
                        let opened = row.open(key, 5);
                        prop_assert_eq!(opened.is_some(), before < 5);
                        let place = row.enter(9);
                        prop_assert_eq!(place.is_some(), before_in_all < 9);
                        match (opened, place) {
                            (Some(opened), Some(place)) => held.push((address, opened, place)),
                            (opened, place) => {
                                opened.into_iter().for_each(|one| row.close(one));
                                place.into_iter().for_each(|one| row.leave(one));
                            }
                        }
                    }
                }
                prop_assert_eq!((addresses.count(key), addresses.total()), (open(&rows), total(&rows)));
            }
        }
    }
}
