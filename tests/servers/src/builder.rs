//! How a server is started.

use std::{path::Path, sync::Arc};

use crate::{certificates::Certificates, redis::RedisServer, wait::free_port};

/// Options of a server that is not started yet.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    pub(crate) socket: bool,
    pub(crate) tls: Option<Arc<Certificates>>,
    pub(crate) asks_for_certificate: bool,
    pub(crate) user: Option<(String, String)>,
    pub(crate) password: Option<String>,
    pub(crate) cluster: bool,
    /// Further arguments of `redis-server`.
    more: Vec<String>,
}

impl Builder {
    /// Listens to a socket in the file system, and to no port.
    pub fn socket(mut self) -> Self {
        self.socket = true;
        self
    }

    /// Speaks TLS only, with this certificate.
    pub fn tls(mut self, certificates: &Arc<Certificates>) -> Self {
        self.tls = Some(Arc::clone(certificates));
        self
    }

    /// Serves over TLS only clients whose certificate is of the same authority.
    pub fn asks_for_certificate(mut self) -> Self {
        self.asks_for_certificate = true;
        self
    }

    /// Has one more user, with these rights (ACL rules); the default user is off. `url` names the new one.
    pub fn user(mut self, name: &str, password: &str, rules: &str) -> Self {
        self.user = Some((name.to_owned(), password.to_owned()));
        let mut words = vec!["--user", name, "on"].into_iter().map(str::to_owned).collect::<Vec<_>>();
        words.push(format!(">{password}"));
        words.extend(rules.split_whitespace().map(str::to_owned));
        words.extend(["--user", "default", "off"].map(str::to_owned));
        self.more.extend(words);
        self
    }

    /// Asks for a password of the default user. `url` holds it.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.argument("requirepass", password).argument("masterauth", password)
    }

    /// Refuses to hold more, or forgets entries, as `policy` (`noeviction`, `allkeys-lru` ...) says.
    pub fn max_memory(self, bytes: u64, policy: &str) -> Self {
        self.argument("maxmemory", &bytes.to_string()).argument("maxmemory-policy", policy)
    }

    /// Keeps its data over a restart.
    pub fn append_only(self) -> Self {
        self.argument("appendonly", "yes").argument("appendfsync", "always")
    }

    /// Copies another server.
    pub fn replica_of(self, master: &RedisServer) -> Self {
        let port = master.port().to_string();
        let mut builder = self;
        builder.more.extend(["--replicaof".to_owned(), "127.0.0.1".to_owned(), port]);
        builder
    }

    /// Is a node of a cluster.
    pub(crate) fn cluster(mut self) -> Self {
        self.cluster = true;
        self.argument("cluster-enabled", "yes")
            .argument("cluster-node-timeout", "1000")
            .argument("cluster-require-full-coverage", "no")
    }

    /// Any other line of redis.conf.
    pub fn argument(mut self, name: &str, value: &str) -> Self {
        self.more.extend([format!("--{name}"), value.to_owned()]);
        self
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(self) -> RedisServer {
        RedisServer::start_with(self)
    }

    /// The arguments of `redis-server` on `port`.
    pub(crate) fn arguments(&self, folder: &Path, port: u16) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut add = |name: &str, value: &str| all.extend([format!("--{name}"), value.to_owned()]);
        add("bind", "127.0.0.1");
        add("dir", &folder.display().to_string());
        // Nothing is kept unless it is asked for: a restarted server is empty.
        add("save", "");
        add("repl-diskless-sync-delay", "0");
        add("enable-debug-command", "local");
        let plain = !self.socket && self.tls.is_none();
        add("port", &if plain { port } else { 0 }.to_string());
        if self.socket {
            add("unixsocket", &folder.join("redis.sock").display().to_string());
        }
        if let Some(certificates) = &self.tls {
            add("tls-port", &port.to_string());
            add("tls-ca-cert-file", &certificates.ca().display().to_string());
            add("tls-cert-file", &certificates.cert().display().to_string());
            add("tls-key-file", &certificates.key().display().to_string());
            add("tls-auth-clients", if self.asks_for_certificate { "yes" } else { "no" });
            add("tls-replication", "yes");
        }
        if self.cluster {
            // By default 10,000 above the port, which may be no port at all.
            add("cluster-port", &free_port().to_string());
        }
        all.extend(self.more.iter().cloned());
        all
    }
}
