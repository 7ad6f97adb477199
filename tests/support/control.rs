//! The control socket, over one kept connection: lines of JSON there and back.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use serde_json::{Value, json};

use super::server::Server;

/// The longest a request may take: a rolling restart of slow workers.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// A client of a server's control socket.
pub struct Control(BufReader<UnixStream>);

impl Control {
    /// Connects.
    pub fn new(server: &Server) -> Self {
        let stream = UnixStream::connect(server.folder().join("run/control.sock")).expect("the instance listens");
        stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a socket takes a timeout");
        Self(BufReader::new(stream))
    }

    /// Sends one request and waits for its answer.
    pub fn ask(&mut self, request: &Value) -> Value {
        self.0.get_mut().write_all(format!("{request}\n").as_bytes()).expect("the instance takes a request");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the instance answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// How the instance is.
    pub fn status(&mut self) -> Status {
        Status(self.ask(&json!({"command": "status"})))
    }

    /// Asks for something and waits until it is done, or has failed: whether it is done, and what was told.
    pub fn order(&mut self, command: &str) -> (bool, String) {
        let answer = self.ask(&json!({"command": command}));
        let told = answer["message"].as_str().or(answer["reason"].as_str());
        (answer["result"] == "done", told.unwrap_or_else(|| panic!("no answer to an order: {answer}")).to_owned())
    }

    /// Replaces all workers one by one, and returns when that is done.
    pub fn restart(&mut self) {
        let answer = self.ask(&json!({"command": "restart"}));
        assert_eq!(answer["result"], "done", "{answer}");
    }
}

/// The answer to `status`.
#[derive(Debug)]
pub struct Status(Value);

impl Status {
    /// The process ids of the worker slots, in order, and of the admin process.
    pub fn pids(&self) -> Vec<u64> {
        self.0["slots"].as_array().into_iter().flatten().filter_map(|slot| slot["pid"].as_u64()).collect()
    }

    /// The worker slots in order.
    pub fn workers(&self) -> Vec<Slot<'_>> {
        let slots = self.0["slots"].as_array().unwrap_or_else(|| panic!("a status has slots: {}", self.0));
        let slots = slots.iter().map(Slot);
        slots.filter(|slot| slot.0["name"].as_str().is_some_and(|name| name.starts_with("worker"))).collect()
    }

    /// The slot with this worker in its first place.
    pub fn slot_of(&self, pid: i32) -> Option<Slot<'_>> {
        self.workers().into_iter().find(|slot| slot.pid() == Some(pid))
    }

    /// Whether there are this many worker slots, and each has one process, which serves.
    pub fn is_whole(&self, workers: usize) -> bool {
        let slots = self.workers();
        slots.len() == workers && slots.iter().all(|slot| slot.is_sound())
    }

    /// What a worker slot reports under a name, summed up.
    pub fn sum(&self, name: &str) -> u64 {
        self.workers().iter().map(|slot| slot.number(name)).sum()
    }
}

/// One slot of a status.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a>(&'a Value);

impl<'a> Slot<'a> {
    /// `live`, `parked` and so on.
    pub fn state(self) -> &'a str {
        self.0["state"].as_str().expect("a slot has a state")
    }

    /// The process in the first place.
    pub fn pid(self) -> Option<i32> {
        self.0["pid"].as_i64().map(|pid| pid.try_into().expect("pids fit"))
    }

    /// A number it reports.
    pub fn number(self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("a slot reports {name}: {}", self.0))
    }

    /// How its last process ended.
    pub fn last_exit(self) -> Option<&'a str> {
        self.0["last_exit"].as_str()
    }

    /// Whether it has one process, which serves.
    pub fn is_sound(self) -> bool {
        self.state() == "live" && self.0["second"].is_null()
    }
}
