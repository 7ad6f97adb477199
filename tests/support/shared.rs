//! Instances that share a tree, the fixture's registers and its counts of runs, and what else they are told to share.

use task_mcp_test_servers::RedisServer;
use tempfile::TempDir;

use super::{
    builder::ServerBuilder,
    server::{Server, runs_in},
    tree::Tree,
};

/// What several instances share. It must outlive them.
pub struct Shared {
    tree: Tree,
    folder: TempDir,
}

impl Shared {
    /// An empty tree, no registers, nothing counted.
    pub fn new() -> Self {
        Self { tree: Tree::new(), folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// The tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// An instance of the fixture's binary.
    pub fn instance(&self, workers: usize) -> ServerBuilder {
        Server::build(self.tree.root()).for_load(workers).shared(self.folder.path())
    }

    /// One whose cache is in Redis, with this coherence. All that share it are as on machines of their own: each has its own
    /// shared memory.
    pub fn over_redis(&self, workers: usize, redis: &RedisServer, coherence: &str) -> ServerBuilder {
        self.over(workers, &redis.url(), coherence)
    }

    /// The same with the URL of what is in front of Redis.
    pub fn over(&self, workers: usize, url: &str, coherence: &str) -> ServerBuilder {
        self.instance(workers)
            .set("cache.backend", "redis")
            .set("cache.coherence", coherence)
            .set("redis.url", url)
            .set("store.id", "shared")
    }

    /// How often a tool of the fixture was run for a key, in all processes.
    pub fn runs(&self, tool: &str, key: &str) -> u64 {
        self.count(&format!("{tool}.{key}"))
    }

    /// How many of these runs came to their end.
    pub fn ended(&self, tool: &str, key: &str) -> u64 {
        self.count(&format!("{tool}.{key}.done"))
    }

    fn count(&self, name: &str) -> u64 {
        runs_in(self.folder.path(), name) as u64
    }
}
