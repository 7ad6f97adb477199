//! Counts of an older scoreboard, carried over to the present one: after an upgrade whose layout or series differ, and after
//! the death of a supervisor whose processes still finish what they have.

use std::collections::HashMap;

use crate::layout::fixed;
use crate::{Role, Scoreboard, Seat, SeatState};

/// Carries over what the processes of an old scoreboard count, for as long as they live, into one seat of the new one.
///
/// Counters and histograms go to the series of the same name, labels, kind and bounds; one that exists no more is dropped.
/// Requests, streams and connections are carried over too. Gauges are not: they are present quantities of processes that
/// leave. Only growth is added, so the sums over the new scoreboard never fall, even if a number of the old one does.
#[derive(Debug)]
pub struct Fold {
    old: Scoreboard,
    into: Seat,
    cells: Vec<Cell>,
}

/// One word of every old seat, and the word of the new seat that takes its growth.
#[derive(Debug)]
struct Cell {
    from: usize,
    to: usize,
    /// The sum over the old seats that was carried over.
    seen: u64,
}

impl Fold {
    /// Prepares to carry the counts of `old` over to `into`, a seat of the new scoreboard that no other process writes.
    /// Nothing is added before the first [`Fold::fold`].
    pub fn new(old: Scoreboard, into: Seat) -> Self {
        let new = &into.inner;
        let places: HashMap<_, _> = new
            .series
            .iter()
            .zip(&new.layout.cells)
            .map(|(one, cell)| ((&one.name, &one.labels), (one, *cell)))
            .collect();
        let same = [fixed::REQUESTS, fixed::STREAMS, fixed::CONNECTIONS].map(|word| (word, word, 1));
        let matched = old.inner.series.iter().zip(&old.inner.layout.cells).filter_map(|(one, from)| {
            let (twin, to) = places.get(&(&one.name, &one.labels))?;
            (twin.kind == one.kind && one.kind.only_grows()).then(|| (*from, *to, one.kind.cells() as usize))
        });
        let words = |(from, to, count)| (0..count).map(move |at| Cell { from: from + at, to: to + at, seen: 0 });
        let cells = same.into_iter().chain(matched).flat_map(words).collect();
        Self { old, into, cells }
    }

    /// As [`Fold::new`], after another program has carried a part over already; `seen` is its [`Fold::seen`].
    pub fn resume(old: Scoreboard, into: Seat, seen: &[(usize, u64)]) -> Self {
        let seen: HashMap<usize, u64> = seen.iter().copied().collect();
        let mut fold = Self::new(old, into);
        for cell in &mut fold.cells {
            cell.seen = seen.get(&cell.from).copied().unwrap_or(0);
        }
        fold
    }

    /// What was carried over so far, by word of an old seat: for another program that goes on.
    pub fn seen(&self) -> Vec<(usize, u64)> {
        self.cells.iter().map(|cell| (cell.from, cell.seen)).collect()
    }

    /// The old scoreboard.
    pub fn old(&self) -> &Scoreboard {
        &self.old
    }

    /// Adds what was counted since the last call; cheap enough for once a second (it reads every cell of every seat that was
    /// ever used). `true` while more may come; once `false`, everything was carried over and the old scoreboard can go.
    ///
    /// More may come as long as [`Fold::running`] names a seat.
    pub fn fold(&mut self) -> bool {
        // Before the cells are read: whoever has left by now counts no more, so what is read below is all there is.
        let more = self.running().next().is_some();
        let used: Vec<usize> =
            seats(&self.old).filter(|seat| seat.state() != SeatState::Empty).map(|seat| seat.base).collect();
        let (old, new) = (&self.old.inner.region, &self.into.inner.region);
        for cell in &mut self.cells {
            let sum = used.iter().fold(0u64, |sum, base| sum.wrapping_add(old.get(base + cell.from)));
            if sum > cell.seen {
                new.add(self.into.base + cell.to, sum - cell.seen);
                cell.seen = sum;
            }
        }
        more
    }

    /// The old seats whose processes may still count: neither empty nor retired, and not the old supervisor's, which writes
    /// nothing any more. A process that nobody can reap never leaves its seat: whoever knows that it is dead calls
    /// [`Seat::retire`].
    pub fn running(&self) -> impl Iterator<Item = Seat> + '_ {
        seats(&self.old).filter(|seat| {
            let gone = matches!(seat.state(), SeatState::Empty | SeatState::Exited);
            !gone && seat.role() != Some(Role::Supervisor)
        })
    }
}

fn seats(board: &Scoreboard) -> impl Iterator<Item = Seat> + '_ {
    (0..board.seats()).filter_map(|index| board.seat(index))
}
