//! What is counted on an old scoreboard arrives on the new one, once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use task_mcp_scoreboard::{Fold, Kind, Plan, Role, Sample, Scoreboard, SeatState, Series};

fn series(name: &str, kind: Kind, label: &str) -> Series {
    let labels = vec![("l".to_owned(), label.to_owned())];
    Series { name: name.into(), help: "Help.".into(), kind, labels, omit_zero: false, shown_with: None }
}

fn histogram(bounds_ns: &[u64]) -> Kind {
    Kind::Histogram { bounds_ns: bounds_ns.to_vec() }
}

/// Seats 0 (supervisor), 1 and 2 (workers), all running.
fn board(series: Vec<Series>) -> Scoreboard {
    let board = Scoreboard::create(&Plan { seats: 4, series }).unwrap();
    for (index, role) in [(0, Role::Supervisor), (1, Role::Worker), (2, Role::Worker)] {
        board.seat(index).unwrap().begin(1, index, 1, role, 0);
    }
    board
}

fn old_board() -> Scoreboard {
    board(vec![
        series("gone", Kind::Counter, "a"),
        series("c", Kind::Counter, "a"),
        series("c", Kind::Counter, "b"),
        series("g", Kind::Gauge, "a"),
        series("h", histogram(&[10, 100]), "a"),
        series("other_bounds", histogram(&[10]), "a"),
        series("other_kind", Kind::Counter, "a"),
    ])
}

fn new_board() -> Scoreboard {
    board(vec![
        series("h", histogram(&[10, 100]), "a"),
        series("new", Kind::Counter, "a"),
        series("g", Kind::Gauge, "a"),
        series("c", Kind::Counter, "b"),
        series("c", Kind::Counter, "a"),
        series("other_bounds", histogram(&[20]), "a"),
        series("other_kind", Kind::Gauge, "a"),
    ])
}

fn total(board: &Scoreboard, name: &str, label: &str) -> Sample {
    board.total(board.find(name, &[("l", label)]).unwrap()).unwrap()
}

#[test]
fn counts_go_to_the_same_series_and_nothing_else_does() {
    let (old, new) = (old_board(), new_board());
    for index in 0..3 {
        let seat = old.seat(index).unwrap();
        [0, 1, 2, 6].iter().for_each(|series| seat.counter(*series).unwrap().add(*series as u64 + 1));
        seat.gauge(3).unwrap().set(5);
        seat.histogram(4).unwrap().observe_ns(11);
        seat.histogram(5).unwrap().observe_ns(11);
        seat.request_started();
        seat.stream_opened();
        seat.connection_opened();
    }
    new.seat(0).unwrap().counter(4).unwrap().add(100);
    let mut fold = Fold::new(old.clone(), new.seat(0).unwrap());
    assert_eq!(total(&new, "c", "a"), Sample::Counter(100), "not before it is asked to");
    for _ in 0..2 {
        assert!(fold.fold(), "two workers run");
        assert_eq!(total(&new, "c", "a"), Sample::Counter(106));
        assert_eq!(total(&new, "c", "b"), Sample::Counter(9));
        assert_eq!(total(&new, "h", "a"), Sample::Histogram { counts: vec![0, 3, 0], sum_ns: 33 });
        assert_eq!(total(&new, "other_bounds", "a"), Sample::Histogram { counts: vec![0, 0], sum_ns: 0 });
        assert_eq!((total(&new, "g", "a"), total(&new, "other_kind", "a")), (Sample::Gauge(0), Sample::Gauge(0)));
        assert_eq!(total(&new, "new", "a"), Sample::Counter(0));
        let totals = new.totals();
        assert_eq!((totals.requests, totals.streams, totals.connections), (3, 3, 3));
        assert_eq!((totals.in_flight, totals.open_streams, totals.open_connections), (0, 0, 0));
    }
}

#[test]
fn it_is_over_when_every_process_but_the_old_supervisor_has_left_its_seat() {
    let (old, new) = (old_board(), new_board());
    let mut fold = Fold::new(old.clone(), new.seat(0).unwrap());
    old.seat(1).unwrap().retire();
    assert!(fold.fold());
    assert_eq!(fold.running().map(|seat| seat.slot()).collect::<Vec<_>>(), [2]);
    // Its last words, then its end.
    old.seat(2).unwrap().counter(1).unwrap().add(7);
    old.seat(2).unwrap().set_state(SeatState::Draining);
    assert!(fold.fold());
    old.seat(2).unwrap().counter(1).unwrap().add(1);
    old.seat(2).unwrap().retire();
    assert!(!fold.fold());
    assert_eq!(total(&new, "c", "a"), Sample::Counter(8));
}

#[test]
fn the_version_before_this_one_is_read_and_older_and_newer_ones_are_not() {
    let old = old_board();
    old.seat(1).unwrap().counter(1).unwrap().add(3);
    let set_version = |version: u64| {
        File::from(old.try_clone_fd().unwrap()).write_all_at(&version.to_le_bytes(), 8).unwrap();
        Scoreboard::open(old.try_clone_fd().unwrap())
    };
    let new = new_board();
    Fold::new(set_version(1).unwrap(), new.seat(0).unwrap()).fold();
    assert_eq!(total(&new, "c", "a"), Sample::Counter(3));
    assert!(set_version(0).is_err() && set_version(3).is_err());
}

/// One thing that happens; seats are taken modulo their number.
#[derive(Debug, Clone)]
enum Move {
    OnOld(u16, u64),
    OnNew(u16, u64),
    Observe(u16, u64),
    Fold,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0u16..3, 0u64..1_000).prop_map(|(seat, by)| Move::OnOld(seat, by)),
        2 => (0u16..3, 0u64..1_000).prop_map(|(seat, by)| Move::OnNew(seat, by)),
        2 => (0u16..3, 0u64..200).prop_map(|(seat, ns)| Move::Observe(seat, ns)),
        4 => Just(Move::Fold),
    ]
}

fn number(sample: &Sample) -> u64 {
    match sample {
        Sample::Counter(value) => *value,
        Sample::Gauge(_) => 0,
        Sample::Histogram { counts, sum_ns } => counts.iter().sum::<u64>() + sum_ns,
    }
}

/// The sums over the new scoreboard that only grow.
fn sums(board: &Scoreboard) -> Vec<u64> {
    let totals = board.totals();
    let series = (0..board.series().len()).map(|index| number(&board.total(index).unwrap()));
    series.chain([totals.requests, totals.streams, totals.connections]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// After the last fold the sums are what was counted on both, and they never fell before.
    #[test]
    fn what_was_counted_on_both_is_the_sum_and_it_never_falls(moves in prop::collection::vec(any_move(), 0..60)) {
        let (old, new) = (old_board(), new_board());
        let mut fold = Fold::new(old.clone(), new.seat(0).unwrap());
        let (mut counted, mut requests, mut observed) = (0, 0, vec![0; 3]);
        let mut before = sums(&new);
        for one in moves.iter().chain([&Move::Fold]) {
            match *one {
                Move::OnOld(seat, by) => {
                    old.seat(seat).unwrap().counter(2).unwrap().add(by);
                    old.seat(seat).unwrap().request_started();
                    (counted, requests) = (counted + by, requests + 1);
                }
                Move::OnNew(seat, by) => {
                    new.seat(seat).unwrap().counter(3).unwrap().add(by);
                    counted += by;
                }
                Move::Observe(seat, ns) => {
                    old.seat(seat).unwrap().histogram(4).unwrap().observe_ns(ns);
                    observed[[10, 100].partition_point(|bound| *bound < ns)] += 1;
                }
                Move::Fold => drop(fold.fold()),
            }
            let now = sums(&new);
            prop_assert!(now.iter().zip(&before).all(|(now, before)| now >= before), "{before:?} {now:?}");
            before = now;
        }
        prop_assert_eq!(total(&new, "c", "b"), Sample::Counter(counted));
        prop_assert_eq!(new.totals().requests, requests);
        let Sample::Histogram { counts, .. } = total(&new, "h", "a") else { panic!("a histogram") };
        prop_assert_eq!(counts, observed);
    }
}

#[test]
fn a_number_that_falls_on_the_old_board_lowers_nothing_and_is_counted_on_from_where_it_was() {
    let (old, new) = (old_board(), new_board());
    let mut fold = Fold::new(old.clone(), new.seat(0).unwrap());
    let counter = old.seat(1).unwrap().counter(1).unwrap();
    for (by, expected) in [(10, 10), (6u64.wrapping_neg(), 10), (5, 10), (3, 12)] {
        counter.add(by);
        fold.fold();
        assert_eq!(total(&new, "c", "a"), Sample::Counter(expected));
    }
}

#[test]
fn another_program_goes_on_where_the_one_before_stopped() {
    let (old, middle, new) = (old_board(), new_board(), new_board());
    let counter = old.seat(1).unwrap().counter(1).unwrap();
    counter.add(5);
    let mut first = Fold::new(old.clone(), middle.seat(0).unwrap());
    assert!(first.fold());
    counter.add(2);
    let mut second = Fold::resume(old.clone(), new.seat(0).unwrap(), &first.seen());
    let mut of_middle = Fold::new(middle.clone(), new.seat(0).unwrap());
    assert!(second.fold() && of_middle.fold());
    assert_eq!(total(&new, "c", "a"), Sample::Counter(7), "nothing twice and nothing lost");
}
