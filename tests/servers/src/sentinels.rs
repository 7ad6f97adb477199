//! Sentinels that watch a master and its replica.

use std::fs;

use nix::sys::signal::Signal;
use redis::{Cmd, FromRedisValue};

use crate::{
    process::Process,
    redis::RedisServer,
    wait::{PATIENCE, eventually, free_port},
};

/// How often ports that somebody else took are replaced.
const PORTS_TRIED: usize = 10;

/// The name the sentinels know their master by.
const MASTER: &str = "main";

/// A master, its replica, and three sentinels that agree about them.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<Sentinel>,
    /// The two data servers; which is master changes.
    pub servers: [RedisServer; 2],
    password: Option<String>,
}

#[derive(Debug)]
struct Sentinel {
    process: Process,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Sentinels {
    /// Starts them all, and waits until they know each other.
    ///
    /// # Panics
    /// They do not start.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// The same with a password of the sentinels.
    ///
    /// # Panics
    /// They do not start.
    pub fn with_password(password: &str) -> Self {
        Self::start_with(Some(password.to_owned()))
    }

    fn start_with(password: Option<String>) -> Self {
        let master = RedisServer::start();
        let replica = RedisServer::builder().replica_of(&master).start();
        replica.wait_for_master();
        let sentinels = (0..3).map(|_| Sentinel::start(master.port(), password.as_deref())).collect();
        let all = Self { sentinels, servers: [master, replica], password };
        for index in 0..all.sentinels.len() {
            // They look every 10 s otherwise. Since Redis 7; an older one is only slower.
            _ = all.try_ask::<()>(index, &["SENTINEL", "DEBUG", "INFO-PERIOD", "200", "PUBLISH-PERIOD", "200"]);
            eventually(PATIENCE, "sentinels know the replica and each other", || {
                let told: Vec<String> = all.ask(index, &["SENTINEL", "MASTER", MASTER]);
                let has = |name: &str, value: &str| told.windows(2).any(|pair| pair == [name, value]);
                (has("num-slaves", "1") && has("num-other-sentinels", "2") && has("flags", "master")).then_some(())
            });
        }
        all
    }

    /// The name of the master.
    pub fn name(&self) -> &'static str {
        MASTER
    }

    /// The sentinels' addresses, `host:port`.
    pub fn places(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect()
    }

    /// Index of the server that the sentinels name.
    pub fn master(&self) -> usize {
        let (_, port): (String, u16) = self.ask(0, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
        usize::from(self.servers.first().is_none_or(|server| server.port() != port))
    }

    /// Makes the replica the master, as an operator would, and waits until all sentinels name it.
    ///
    /// # Panics
    /// They do not.
    pub fn failover(&self) {
        let before = self.master();
        // They refuse while they still agree about the replica.
        eventually(PATIENCE, "sentinels accept a failover", || {
            self.try_ask::<()>(0, &["SENTINEL", "FAILOVER", MASTER]).ok()
        });
        self.wait_for_other_than(before);
    }

    /// Waits until all sentinels name another server than the one at `index`, and it says it is a master.
    ///
    /// # Panics
    /// They do not.
    pub fn wait_for_other_than(&self, index: usize) {
        let other = self.servers.get(1 - index).expect("one of two servers");
        for sentinel in 0..self.sentinels.len() {
            eventually(PATIENCE, "all sentinels name the new master", || {
                let (_, port): (String, u16) =
                    self.try_ask(sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).ok()?;
                (port == other.port()).then_some(())
            });
        }
        eventually(PATIENCE, "the new master says it is one", || {
            let info: String = other.tell(&["INFO", "replication"]);
            info.contains("role:master").then_some(())
        });
    }

    /// Stops one sentinel (SIGSTOP).
    pub fn stop(&self, index: usize) {
        self.sentinels.get(index).expect("a sentinel").process.signal(Signal::SIGSTOP);
    }

    /// Kills one sentinel.
    pub fn kill(&mut self, index: usize) {
        self.sentinels.get_mut(index).expect("a sentinel").process.kill();
    }

    fn ask<T: FromRedisValue>(&self, index: usize, words: &[&str]) -> T {
        self.try_ask(index, words).expect("an answer of a sentinel")
    }

    fn try_ask<T: FromRedisValue>(&self, index: usize, words: &[&str]) -> redis::RedisResult<T> {
        ask(self.sentinels.get(index).expect("a sentinel").port, self.password.as_deref(), words)
    }
}

impl Sentinel {
    fn start(master: u16, password: Option<&str>) -> Self {
        for _ in 0..PORTS_TRIED {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let port = free_port();
            let mut file = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
                 sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 5000\n",
                folder.path().display()
            );
            if let Some(password) = password {
                file += &format!("requirepass {password}\nsentinel sentinel-pass {password}\n");
            }
            // They write their own state into it.
            let path = folder.path().join("sentinel.conf");
            fs::write(&path, file).expect("a file in a temporary folder");
            let arguments = [path.display().to_string(), "--sentinel".to_owned()];
            let mut process = Process::start(folder.path(), &arguments);
            if process.becomes_ready(|| ask::<()>(port, password, &["PING"]).is_ok()) {
                return Self { process, port, _folder: folder };
            }
            let log = process.log();
            assert!(log.contains("in use"), "a sentinel does not start: {log}");
        }
        panic!("{PORTS_TRIED} free ports were all taken before a sentinel listened to them");
    }
}

fn ask<T: FromRedisValue>(port: u16, password: Option<&str>, words: &[&str]) -> redis::RedisResult<T> {
    let who = password.map(|password| format!(":{password}@")).unwrap_or_default();
    let mut connection = redis::Client::open(format!("redis://{who}127.0.0.1:{port}"))?
        .get_connection_with_timeout(std::time::Duration::from_secs(2))?;
    let mut command = Cmd::new();
    words.iter().for_each(|word| _ = command.arg(*word));
    command.query(&mut connection)
}
