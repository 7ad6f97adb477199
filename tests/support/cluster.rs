//! Two instances behind a router, as on two machines.

use task_mcp_test_servers::RedisServer;

use super::{router::Router, server::Server, shared::Shared, tree::Tree};

/// Two instances of the fixture's binary with two workers each, and a router that sends each request to one of them by chance. They
/// share a tree, a Redis and the keys that seal; what is theirs alone lies in directories of their own.
pub struct Cluster {
    router: Router,
    servers: [Server; 2],
    shared: Shared,
    _redis: RedisServer,
}

impl Cluster {
    /// Starts all of it; `seed` decides which request goes where.
    pub fn start(seed: u64) -> Self {
        let (redis, shared, router) = (RedisServer::start(), Shared::new(), Router::start(seed));
        let instance = || {
            let builder = shared.over_redis(2, &redis, "strict").set("state.backend", "redis");
            let key = "sealing_keys = [\"one key of all instances, 32 bytes and more\"]";
            let public = format!("public_url = \"http://{}\"", router.address());
            builder.settings(&format!("[auth]\n{key}\n[server]\n{public}\n")).start()
        };
        let servers = [instance(), instance()];
        router.route_to(&[servers[0].address(), servers[1].address()]);
        Self { router, servers, shared, _redis: redis }
    }

    /// What clients connect to.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The instances.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The tree of both.
    pub fn tree(&self) -> &Tree {
        self.shared.tree()
    }

    /// A router that favours one instance would prove little.
    pub fn assert_both_were_asked(&self) {
        let given = self.router.given();
        let all: u64 = given.iter().sum();
        assert!(given.iter().all(|each| each * 5 >= all), "requests were not spread: {given:?}");
    }
}
