//! The bus between two machines: each has a worker and an admin process, with the supervisor's star between them.

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
        tokio::spawn(async move { machines.hand_on(&admin).await });
        Self { worker, heard }
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
    for number in 0..100 {
        let payload = number.to_string();
        machines[usize::from(rand::random::<bool>())].worker.publish("t", &payload).unwrap();
        for machine in &mut machines {
            assert_eq!(machine.next().await, event("t", &payload));
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
