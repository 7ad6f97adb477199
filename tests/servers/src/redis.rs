//! One server.

use std::{fs, path::PathBuf, time::Duration};

use nix::sys::signal::Signal;
use redis::{ClientTlsConfig, Cmd, Connection, FromRedisValue, TlsCertificates};

use crate::{
    builder::Builder,
    process::Process,
    wait::{PATIENCE, eventually, free_port},
};

/// How often a port that somebody else took is replaced.
const PORTS_TRIED: usize = 10;

/// A running Redis.
#[derive(Debug)]
pub struct RedisServer {
    // Before the folder, which goes when nobody writes to it any more.
    process: Process,
    folder: tempfile::TempDir,
    builder: Builder,
    port: u16,
}

impl RedisServer {
    /// A server with all defaults: a port of loopback, no password, nothing kept.
    ///
    /// # Panics
    /// It does not start.
    pub fn start() -> Self {
        Builder::default().start()
    }

    /// One with options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn start_with(builder: Builder) -> Self {
        if builder.tls.is_some() {
            // Fails if it was chosen before.
            _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        for _ in 0..PORTS_TRIED {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let port = free_port();
            let process = Process::start(folder.path(), &builder.arguments(folder.path(), port));
            let mut server = Self { process, folder, builder: builder.clone(), port };
            if server.becomes_ready() {
                return server;
            }
            let log = server.process.log();
            assert!(log.contains("in use"), "redis-server does not start: {log}");
        }
        panic!("{PORTS_TRIED} free ports were all taken before a server listened to them");
    }

    /// The URL it is reached by, with user and password.
    pub fn url(&self) -> String {
        let who = match (&self.builder.user, &self.builder.password) {
            (Some((name, password)), _) => format!("{name}:{password}@"),
            (None, Some(password)) => format!(":{password}@"),
            (None, None) => String::new(),
        };
        match (&self.builder.user, self.builder.socket) {
            (Some((name, password)), true) => {
                format!("unix://{}?user={name}&pass={password}", self.socket().display())
            }
            (None, true) => format!("unix://{}", self.socket().display()),
            (_, false) if self.builder.tls.is_some() => format!("rediss://{who}127.0.0.1:{}", self.port),
            (_, false) => format!("redis://{who}127.0.0.1:{}", self.port),
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, `host:port`.
    pub fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its socket, if it has one.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Asks it something, on a connection of its own.
    ///
    /// # Panics
    /// It does not answer, or with an error.
    pub fn query<T: FromRedisValue>(&self, command: &Cmd) -> T {
        let mut connection = self.connection().expect("a connection to the test's server");
        command.query(&mut connection).unwrap_or_else(|error| panic!("{:?}: {error}", self.place()))
    }

    /// The same from words: `["SET", "k", "v"]`.
    ///
    /// # Panics
    /// It does not answer, or with an error.
    pub fn tell<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = Cmd::new();
        words.iter().for_each(|word| _ = command.arg(*word));
        self.query(&command)
    }

    /// The same for what may fail.
    ///
    /// # Errors
    /// It cannot be reached, or refuses.
    pub fn try_tell<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut command = Cmd::new();
        words.iter().for_each(|word| _ = command.arg(*word));
        command.query(&mut self.connection()?)
    }

    /// Stops it (SIGSTOP): connections stay, nothing is answered.
    pub fn stop(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn cont(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again at the same place after `kill`, or kills it first. It is empty, unless it is `append_only`.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart(&mut self) {
        self.process.kill();
        // Whoever connected from this very port by chance keeps it for a while.
        eventually(PATIENCE, "a killed server starts again at its place", || {
            _ = fs::remove_file(self.socket());
            self.process = Process::start(self.folder.path(), &self.builder.arguments(self.folder.path(), self.port));
            self.becomes_ready().then_some(())
        });
    }

    /// Empties it.
    pub fn flush(&self) {
        self.tell::<()>(&["FLUSHALL"]);
    }

    /// Makes it a replica of `master`, and waits until it has its data.
    ///
    /// # Panics
    /// It does not become one.
    pub fn follow(&self, master: &Self) {
        self.tell::<()>(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
        self.wait_for_master();
    }

    /// Waits until it has its master's data.
    ///
    /// # Panics
    /// It does not get it.
    pub fn wait_for_master(&self) {
        eventually(PATIENCE, "a replica is in step with its master", || {
            let info: String = self.tell(&["INFO", "replication"]);
            info.contains("master_link_status:up").then_some(())
        });
    }

    fn becomes_ready(&mut self) -> bool {
        let (url, builder) = (self.url(), self.builder.clone());
        self.process.becomes_ready(|| {
            let pinged = connect(&url, &builder).and_then(|mut connection| redis::cmd("PING").exec(&mut connection));
            match pinged {
                Ok(()) => true,
                // It answers; its user may not PING, and a replica may still load.
                Err(error) => matches!(error.kind(), redis::ErrorKind::Server(redis::ServerErrorKind::NoPerm)),
            }
        })
    }

    fn connection(&self) -> redis::RedisResult<Connection> {
        connect(&self.url(), &self.builder)
    }
}

fn connect(url: &str, builder: &Builder) -> redis::RedisResult<Connection> {
    let client = match &builder.tls {
        None => redis::Client::open(url)?,
        Some(certificates) => {
            let read = |path: PathBuf| fs::read(path).expect("a PEM file");
            let own = ClientTlsConfig { client_cert: read(certificates.cert()), client_key: read(certificates.key()) };
            let certificates = TlsCertificates { client_tls: Some(own), root_cert: Some(read(certificates.ca())) };
            redis::Client::build_with_tls(url, certificates)?
        }
    };
    let connection = client.get_connection_with_timeout(Duration::from_secs(2))?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(connection)
}
