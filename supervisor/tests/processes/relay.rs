//! What one process says to others, and questions for the admin process.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use serde_json::json;
use task_mcp_supervisor::{Exit, Request, Response, control};

use crate::radio::{heard_of, orders_of};
use crate::stage::{PATIENCE, Stage, TermOnDrop, wait_for};

const ONE: &str = "worker-0-1";
const OTHER: &str = "worker-1-2";
const ADMIN: &str = "admin-x-3";

/// Runs an instance of processes that use the bus as `act` tells them; it ends well, and what `act` asserts is so.
fn on_air(act: impl FnOnce(&Path) + Send + 'static) {
    let stage = Stage::new();
    let dir = stage.dir.path().to_owned();
    let (sender, ended) = mpsc::channel();
    let exit = stage.run("radio", stage.settings(), move |_| {
        thread::spawn(move || {
            let _end = TermOnDrop;
            for name in [ONE, OTHER, ADMIN] {
                wait_for("the first word", || heard(&dir, name) == ["resync"]);
            }
            act(&dir);
            sender.send(()).unwrap();
        });
    });
    ended.recv().expect("all of it is so");
    assert_eq!(exit, Exit::Clean);
}

/// Tells a process what to do, and waits until it has done it.
fn tell(dir: &Path, name: &str, lines: &str) {
    let (new, orders) = (dir.join(format!("{name}.new")), orders_of(dir, name));
    fs::write(&new, lines).unwrap();
    fs::rename(&new, &orders).unwrap();
    wait_for("it is done", || !orders.exists());
}

/// What a process has heard, without a line that is not finished.
fn heard(dir: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(heard_of(dir, name)).unwrap_or_default();
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
}

fn wait_heard(dir: &Path, name: &str, line: &str) {
    wait_for(line, || heard(dir, name).iter().any(|heard| heard == line));
}

/// The numbers that a process heard from another, in order.
fn numbers(dir: &Path, name: &str, from: &str) -> Vec<usize> {
    let heard = heard(dir, name);
    heard.iter().filter_map(|line| line.strip_prefix(from)?.trim().parse().ok()).collect()
}

fn resyncs(dir: &Path, name: &str) -> usize {
    heard(dir, name).iter().filter(|line| *line == "resync").count()
}

fn ask(dir: &Path, request: &Request) -> Response {
    control(&dir.join("run/control.sock"), request, PATIENCE).unwrap()
}

fn question(dir: &Path, word: &str) -> Response {
    ask(dir, &Request::Ask { question: json!(word) })
}

fn answer(response: Response) -> serde_json::Value {
    match response {
        Response::Answer { answer } => answer,
        other => panic!("{other:?}"),
    }
}

fn failure(response: Response) -> String {
    match response {
        Response::Failed { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// Fills what may wait for `OTHER`, which does not read, until some of it was given up; nobody else misses any.
fn fill(dir: &Path) -> usize {
    tell(dir, OTHER, "deaf");
    // Fewer at a time than may wait for a process that reads.
    let all = 2_000;
    for first in (0..all).step_by(100) {
        tell(dir, ONE, &format!("publish {first} {} 1000", first + 100));
        wait_heard(dir, ADMIN, &format!("{ONE} {}", first + 99));
    }
    assert_eq!(numbers(dir, ADMIN, ONE), (0..all).collect::<Vec<_>>(), "nobody waits for the one that does not read");
    assert_eq!(resyncs(dir, ADMIN), 1);
    all
}

#[test]
fn what_a_process_says_every_other_hears_once_in_its_order_and_itself_not() {
    on_air(|dir| {
        thread::scope(|scope| {
            for name in [ONE, OTHER] {
                scope.spawn(move || tell(dir, name, "publish 0 200 10"));
            }
        });
        let all: Vec<usize> = (0..200).collect();
        for (name, from) in [(OTHER, ONE), (ONE, OTHER), (ADMIN, ONE), (ADMIN, OTHER)] {
            wait_heard(dir, name, &format!("{from} 199"));
            assert_eq!(numbers(dir, name, from), all, "{name} from {from}");
        }
        for name in [ONE, OTHER, ADMIN] {
            assert!(numbers(dir, name, name).is_empty(), "its own");
            assert_eq!(resyncs(dir, name), 1, "nothing was lost");
        }
    });
}

#[test]
fn a_process_that_does_not_read_is_told_once_that_it_missed_something() {
    on_air(|dir| {
        let all = fill(dir);
        tell(dir, OTHER, "hear");
        wait_heard(dir, OTHER, &format!("{ONE} {}", all - 1));
        let came = numbers(dir, OTHER, ONE);
        assert!(came.is_sorted() && came.len() < all, "{} of {all}", came.len());
        assert_eq!(resyncs(dir, OTHER), 2, "one when it became ready, one for all that was given up");
        let heard = heard(dir, OTHER);
        let word = heard.iter().rposition(|line| line == "resync").unwrap();
        let before: Vec<usize> = (0..word - 1).collect();
        assert_eq!(came[..word - 1], before, "nothing is missing before it");
        let after: Vec<usize> = (all - (came.len() - before.len())..all).collect();
        assert_eq!(came[word - 1..], after, "nor after it");
    });
}

#[test]
fn an_order_does_not_wait_behind_events() {
    on_air(|dir| {
        let all = fill(dir);
        thread::scope(|scope| {
            let restart = scope.spawn(|| ask(dir, &Request::Restart));
            wait_for("the order was given", || match ask(dir, &Request::Status) {
                Response::Status(status) => {
                    status.slots[1].second.as_ref().is_some_and(|second| second.state == "leaving")
                }
                other => panic!("{other:?}"),
            });
            wait_for("a successor", || dir.join("born/worker-1-5").exists());
            tell(dir, OTHER, "hear");
            assert!(matches!(restart.join().unwrap(), Response::Done { .. }));
        });
        let heard = heard(dir, OTHER);
        assert_eq!(heard.last().map(String::as_str), Some("drain"));
        assert!(heard.len() < all / 2 && resyncs(dir, OTHER) == 1, "it overtook what waited");
    });
}

#[test]
fn a_flood_of_events_keeps_nobody_from_work_nor_from_its_end() {
    on_air(|dir| {
        for name in [ONE, OTHER] {
            tell(dir, name, "flood");
        }
        wait_for("more events than one can take", || resyncs(dir, ADMIN) > 3);
        assert_eq!(answer(question(dir, "x")), json!("x"));
        assert!(matches!(ask(dir, &Request::Status), Response::Status(_)));
        assert!(matches!(ask(dir, &Request::Scale { workers: 3 }), Response::Done { .. }));
        assert!(matches!(ask(dir, &Request::Restart), Response::Done { .. }));
        for name in [ONE, OTHER] {
            assert_eq!(heard(dir, name).last().map(String::as_str), Some("drain"));
        }
        let next = dir.join("born");
        let name = fs::read_dir(next).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let name = name.filter(|name| name.starts_with("worker-0-")).max().unwrap();
        // The last one floods until the instance ends.
        tell(dir, &name, "flood");
    });
}

#[test]
fn what_is_no_event_is_left_aside_and_a_loss_is_told_to_all_others() {
    on_air(|dir| {
        tell(dir, ONE, "publish 0 1 10\nunknown\ntoo-long\nanswer 99\npublish 1 2 10");
        for name in [OTHER, ADMIN] {
            wait_heard(dir, name, &format!("{ONE} 1"));
            assert_eq!(heard(dir, name), ["resync".to_owned(), format!("{ONE} 0"), format!("{ONE} 1")]);
        }
        tell(dir, ONE, "lost\npublish 2 3 10");
        for name in [OTHER, ADMIN] {
            wait_heard(dir, name, &format!("{ONE} 2"));
            assert_eq!(resyncs(dir, name), 2);
        }
        assert_eq!(heard(dir, ONE), ["resync"]);
    });
}

#[test]
fn a_question_gets_its_own_answer_or_the_reason_why_there_is_none() {
    on_air(|dir| {
        thread::scope(|scope| {
            let later = scope.spawn(|| question(dir, "later"));
            wait_heard(dir, ADMIN, "later");
            assert_eq!(answer(question(dir, "x")), json!("x"));
            assert_eq!(answer(later.join().unwrap()), json!("now"));
        });
        assert!(failure(question(dir, "nonsense")).contains("cannot be understood"));
        thread::scope(|scope| {
            let never = scope.spawn(|| question(dir, "never"));
            wait_heard(dir, ADMIN, "never");
            // Nobody but the admin process is asked, and nobody else answers.
            tell(dir, ONE, "answer 1\nanswer 2\nanswer 3\nanswer 4\nanswer 5");
            assert!(failure(question(dir, "die")).contains("ended before it answered"));
            assert!(failure(never.join().unwrap()).contains("ended before it answered"));
        });
        wait_for("the next admin process answers", || match question(dir, "again") {
            Response::Answer { answer } => answer == json!("again"),
            Response::Failed { reason } => !reason.contains("does not serve") && panic!("{reason}"),
            other => panic!("{other:?}"),
        });
    });
}
