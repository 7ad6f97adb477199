//! The bus between two machines: each has a worker and an admin process, with the supervisor's star between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use task_mcp_test_servers::RedisServer;
use tokio::time::timeout;

use super::*;
use crate::bus::machines::Machines;
use crate::testing::connection;

/// How long anything may take that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a worker of the machine hears.
struct Machine {
    worker: Bus,
    heard: Subscription,
    /// Events of other machines that were done with before they were handed on.
    done: Arc<AtomicU64>,
}

impl Machine {
    fn start(server: &RedisServer, origin: &str) -> Self {
        let redis = connection(server);
        let (channel, origin) = ("test:bus".to_owned(), origin.to_owned());
        let machines = Machines { redis, channel, origin, limit: Duration::from_secs(2) };
        let elsewhere = Outbox::default();
        let worker = Bus::new(Some(elsewhere.clone()), metrics());
        let admin = Bus::new(None, metrics());
        let heard = worker.subscribe(&[""]);
        tokio::spawn(machines.clone().publish(elsewhere));
        star(&worker, &admin);
        star(&admin, &worker);
        let done = Arc::new(AtomicU64::new(0));
        let counts = Arc::clone(&done);
        let beforehand = move |heard: Heard| {
            let counts = Arc::clone(&counts);
            async move {
                tokio::task::yield_now().await;
                if matches!(heard, Heard::Event { .. }) {
                    counts.fetch_add(1, Ordering::SeqCst);
                }
            }
        };
        tokio::spawn(async move { machines.hand_on(&admin, beforehand).await });
        Self { worker, heard, done }
    }

    async fn next(&mut self) -> Heard {
        timeout(PATIENCE, self.heard.next()).await.expect("something is heard")
    }

    /// Waits for the word to look at everything anew.
    async fn resynced(&mut self) {
        while self.next().await != Heard::Resync {}
    }
}

/// What the supervisor does between two processes.
fn star(from: &Bus, to: &Bus) {
    let (outbox, to) = (from.outbox(), to.clone());
    tokio::spawn(async move {
        loop {
            match outbox.next().await {
                Outgoing::Event { topic, payload } => to.deliver(&topic, &payload),
                Outgoing::Resync => to.resync(),
            }
        }
    });
}

#[tokio::test]
async fn every_event_is_heard_once_on_every_machine() {
    let server = RedisServer::start();
    let mut machines = [Machine::start(&server, "a"), Machine::start(&server, "b")];
    for machine in &mut machines {
        machine.resynced().await;
    }
    let mut of_the_other = [0; 2];
    for number in 0..100 {
        let payload = number.to_string();
        let publishes = usize::from(rand::random::<bool>());
        of_the_other[1 - publishes] += 1;
        machines[publishes].worker.publish("t", &payload).unwrap();
        for (machine, expected) in machines.iter_mut().zip(of_the_other) {
            assert_eq!(machine.next().await, event("t", &payload));
            assert_eq!(machine.done.load(Ordering::SeqCst), expected, "nothing is heard before it is done with");
        }
    }
}

#[tokio::test]
async fn when_redis_was_away_all_are_told_to_look_anew_and_hear_again() {
    let mut server = RedisServer::start();
    let mut machines = [Machine::start(&server, "a"), Machine::start(&server, "b")];
    for machine in &mut machines {
        machine.resynced().await;
    }
    server.kill();
    machines[0].worker.publish("t", "lost").unwrap();
    server.restart();
    for machine in &mut machines {
        machine.resynced().await;
    }
    timeout(PATIENCE, async {
        loop {
            machines[0].worker.publish("t", "after").unwrap();
            if timeout(Duration::from_millis(200), machines[1].heard.next()).await == Ok(event("t", "after")) {
                return;
            }
        }
    })
    .await
    .expect("events are heard again");
}
