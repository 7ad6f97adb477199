//! Promises of the scoreboard to those who map it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use task_mcp_scoreboard::{Kind, Plan, Retired, Role, Sample, Scoreboard, ScoreboardError, SeatState, Series};

fn series(name: &str, kind: Kind) -> Series {
    Series { name: name.into(), help: "Help.".into(), kind, labels: vec![], omit_zero: false, shown_with: None }
}

fn board() -> Scoreboard {
    let histogram = Kind::Histogram { bounds_ns: vec![10, 100] };
    let series = vec![series("c", Kind::Counter), series("h", histogram), series("g", Kind::Gauge)];
    Scoreboard::create(&Plan { seats: 3, series }).unwrap()
}

#[test]
fn another_process_sees_the_same_directory_and_numbers() {
    let ours = board();
    let theirs = Scoreboard::open(ours.try_clone_fd().unwrap()).unwrap();
    assert_eq!(ours.series(), theirs.series());
    assert_eq!(theirs.find("h", &[]), Some(1));
    assert_eq!(theirs.find("h", &[("a", "b")]), None);
    let seat = theirs.seat(1).unwrap();
    seat.begin(42, 7, 3, Role::Worker, 1000);
    seat.heartbeat(1050);
    let seen = ours.seat(1).unwrap();
    assert_eq!((seen.pid(), seen.slot(), seen.generation(), seen.role()), (42, 7, 3, Some(Role::Worker)));
    assert_eq!((seen.started_ms(), seen.heartbeat_ms(), seen.state()), (1000, 1050, SeatState::Starting));
    assert_eq!(seen.tid(), None);
    seat.served_by(43);
    assert_eq!(seen.tid(), Some(43));
    (0..2).for_each(|_| seat.request_started());
    assert_eq!(seen.own_requests(), 2);
    seat.begin(44, 7, 4, Role::Worker, 2000);
    assert_eq!((seat.own_requests(), seat.requests()), (0, 2), "those of the process before are not the next one's");
    assert_eq!(seen.tid(), None, "the thread of the process before is not the next one's");
    assert!(ours.seat(3).is_none());
}

#[test]
fn totals_sum_over_all_seats_and_buckets_hold_their_upper_bound() {
    let board = board();
    for (index, values) in [(0, vec![0, 10]), (2, vec![11, 100, 101])] {
        let seat = board.seat(index).unwrap();
        seat.counter(0).unwrap().add(u64::from(index) + 1);
        seat.gauge(2).unwrap().add(-2);
        values.into_iter().for_each(|value| seat.histogram(1).unwrap().observe_ns(value));
    }
    assert_eq!(board.total(0), Some(Sample::Counter(4)));
    assert_eq!(board.total(1), Some(Sample::Histogram { counts: vec![2, 2, 1], sum_ns: 222 }));
    assert_eq!(board.total(2), Some(Sample::Gauge(-4)));
    assert_eq!(board.total(3), None);
}

#[test]
fn a_handle_of_the_wrong_kind_is_not_given() {
    let seat = board().seat(0).unwrap();
    assert!(seat.counter(1).is_none() && seat.gauge(0).is_none() && seat.histogram(2).is_none());
    assert!(seat.counter(9).is_none());
}

#[test]
fn retiring_tells_what_was_lost_and_keeps_counters() {
    let board = board();
    let seat = board.seat(1).unwrap();
    seat.begin(1, 0, 1, Role::Worker, 0);
    seat.set_state(SeatState::Live);
    (0..5).for_each(|_| seat.request_started());
    (0..2).for_each(|_| seat.request_finished());
    seat.stream_opened();
    seat.connection_opened();
    seat.counter(0).unwrap().add(9);
    seat.gauge(2).unwrap().set(4);
    assert_eq!((board.totals().in_flight, board.totals().live), (3, 1));
    assert_eq!(seat.retire(), Retired { in_flight: 3, open_streams: 1, open_connections: 1 });
    assert_eq!(seat.retire(), Retired::default());
    let totals = board.totals();
    assert_eq!((totals.in_flight, totals.open_streams, totals.open_connections, totals.live), (0, 0, 0, 0));
    assert_eq!((totals.requests, totals.streams, totals.connections), (5, 1, 1));
    assert_eq!(board.total(0), Some(Sample::Counter(9)));
    assert_eq!(board.total(2), Some(Sample::Gauge(0)));
    assert_eq!(seat.state(), SeatState::Exited);
}

#[test]
fn many_threads_lose_no_count() {
    let board = board();
    std::thread::scope(|scope| {
        for index in 0..3 {
            let seat = board.seat(index).unwrap();
            scope.spawn(move || {
                let counter = seat.counter(0).unwrap();
                for _ in 0..10_000 {
                    seat.request_started();
                    counter.add(1);
                    seat.request_finished();
                }
            });
        }
    });
    assert_eq!(board.total(0), Some(Sample::Counter(30_000)));
    assert_eq!((board.totals().requests, board.totals().in_flight), (30_000, 0));
}

#[test]
fn foreign_versions_and_lengths_are_refused() {
    for (word, value) in
        [(0u64, 1u64), (1, 0), (1, 3), (2, 99), (3, 4), (3, u64::MAX), (4, 8), (5, 0), (6, u64::MAX), (6, 3)]
    {
        let fd = board().try_clone_fd().unwrap();
        File::from(fd.try_clone().unwrap()).write_all_at(&value.to_le_bytes(), word * 8).unwrap();
        assert!(Scoreboard::open(fd).is_err(), "word {word} = {value} was accepted");
    }
    let file = OwnedFd::from(File::open("/dev/null").unwrap());
    assert!(matches!(Scoreboard::open(file), Err(ScoreboardError::Unsealed | ScoreboardError::Seal(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever lies in the memory, opening it and reading every total ends in a value or a typed error.
    #[test]
    fn arbitrary_damage_never_panics(damage in prop::collection::vec((0u64..400, any::<u8>()), 1..40)) {
        let fd = board().try_clone_fd().unwrap();
        let file = File::from(fd.try_clone().unwrap());
        for (at, byte) in damage {
            file.write_all_at(&[byte], at).unwrap();
        }
        if let Ok(board) = Scoreboard::open(fd) {
            (0..board.series().len()).for_each(|index| assert!(board.total(index).is_some()));
            board.totals();
            board.seat(0).map(|seat| seat.retire());
        }
    }
}
