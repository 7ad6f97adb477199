//! A cluster.

use std::time::{Duration, Instant};

use redis::Value;

use crate::{
    redis::RedisServer,
    wait::{PATIENCE, eventually},
};

/// Number of masters; a majority of them must live.
const MASTERS: usize = 3;

/// Number of slots (Redis cluster specification).
const SLOTS: usize = 16384;

/// When a failover that did not happen is asked for again.
const ELECTION: Duration = Duration::from_secs(3);

/// Three masters that share the slots in equal parts, with or without a replica each.
#[derive(Debug)]
pub struct Cluster {
    /// The masters, and then, in the same order, their replicas.
    pub nodes: Vec<RedisServer>,
}

impl Cluster {
    /// Starts the masters, and waits until they agree.
    ///
    /// # Panics
    /// They do not.
    pub fn start() -> Self {
        Self::of(MASTERS)
    }

    /// The same with one replica each.
    ///
    /// # Panics
    /// They do not start.
    pub fn with_replicas() -> Self {
        Self::of(2 * MASTERS)
    }

    fn of(count: usize) -> Self {
        let nodes: Vec<RedisServer> = (0..count).map(|_| RedisServer::builder().cluster().start()).collect();
        for (index, node) in nodes.iter().enumerate() {
            node.tell::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            if index < MASTERS {
                let (first, last) = (index * SLOTS / MASTERS, (index + 1) * SLOTS / MASTERS - 1);
                node.tell::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            }
        }
        let cluster = Self { nodes };
        cluster.meet();
        for index in MASTERS..count {
            let (master, replica) = (cluster.node(index - MASTERS), cluster.node(index));
            let id: String = master.tell(&["CLUSTER", "MYID"]);
            // It must have heard of its master.
            eventually(PATIENCE, "a node becomes a replica", || {
                let known: String = replica.tell(&["CLUSTER", "NODES"]);
                known.contains(&id).then(|| replica.tell::<()>(&["CLUSTER", "REPLICATE", &id]))
            });
            replica.wait_for_master();
        }
        cluster
    }

    fn meet(&self) {
        for node in &self.nodes {
            let info: String = node.tell(&["CLUSTER", "NODES"]);
            // "id 127.0.0.1:port@busport ...": its bus is not where it usually is.
            let bus = info.split('@').nth(1).and_then(|rest| rest.split([' ', ',']).next()).expect("a bus port");
            for other in &self.nodes {
                other.tell::<()>(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), bus]);
            }
        }
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        for node in &self.nodes {
            eventually(PATIENCE, "the nodes of a cluster agree", || {
                let info: String = node.tell(&["CLUSTER", "INFO"]);
                let slots: Value = node.tell(&["CLUSTER", "SLOTS"]);
                let all_known = matches!(slots, Value::Array(ranges) if ranges.len() >= MASTERS);
                (info.contains("cluster_state:ok") && info.contains(&known) && all_known).then_some(())
            });
        }
    }

    /// The nodes' addresses, `host:port`.
    pub fn places(&self) -> Vec<String> {
        self.nodes.iter().map(RedisServer::place).collect()
    }

    /// The slot of `key`.
    pub fn slot_of(&self, key: &str) -> u16 {
        self.node(0).tell(&["CLUSTER", "KEYSLOT", key])
    }

    /// Index of the node that is master of a slot, as the node at `asked` sees it.
    pub fn owner(&self, slot: u16, asked: usize) -> Option<usize> {
        let ranges: Vec<Value> = self.node(asked).tell(&["CLUSTER", "SLOTS"]);
        let port = ranges.iter().find_map(|range| {
            let Value::Array(parts) = range else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = parts.as_slice() else { return None };
            let Some(Value::Int(port)) = master.get(1) else { return None };
            (*first..=*last).contains(&i64::from(slot)).then_some(*port)
        })?;
        self.nodes.iter().position(|node| i64::from(node.port()) == port)
    }

    /// Moves a slot and its keys to the master at `to`, and waits until all agree.
    ///
    /// # Panics
    /// They do not.
    pub fn move_slot(&self, slot: u16, to: usize) {
        let from = self.owner(slot, 0).expect("an owner of the slot");
        let (source, target) = (self.node(from), self.node(to));
        let id = |node: &RedisServer| -> String { node.tell(&["CLUSTER", "MYID"]) };
        let number = slot.to_string();
        target.tell::<()>(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &id(source)]);
        source.tell::<()>(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &id(target)]);
        let keys: Vec<String> = source.tell(&["CLUSTER", "GETKEYSINSLOT", &number, "1000"]);
        for key in keys {
            source.tell::<Value>(&["MIGRATE", "127.0.0.1", &target.port().to_string(), &key, "0", "5000"]);
        }
        target.tell::<()>(&["CLUSTER", "SETSLOT", &number, "NODE", &id(target)]);
        source.tell::<()>(&["CLUSTER", "SETSLOT", &number, "NODE", &id(target)]);
        self.wait_for_owner(slot, to);
    }

    /// Makes the replica of the master at `index` the master in its place, and waits until all agree.
    ///
    /// # Panics
    /// They do not, or it has none.
    pub fn failover(&self, index: usize) {
        let slot = u16::try_from(index * SLOTS / MASTERS).expect("a slot");
        let replica = self.node(index + MASTERS);
        // An election that is not won is given up after 5 s, and not repeated by itself.
        let mut asked = Instant::now() - ELECTION;
        eventually(2 * PATIENCE, "a replica takes over", || {
            if asked.elapsed() >= ELECTION {
                _ = replica.try_tell::<()>(&["CLUSTER", "FAILOVER"]);
                asked = Instant::now();
            }
            (self.owner(slot, index + MASTERS) == Some(index + MASTERS)).then_some(())
        });
        self.wait_for_owner(slot, index + MASTERS);
    }

    fn wait_for_owner(&self, slot: u16, index: usize) {
        for asked in 0..self.nodes.len() {
            eventually(PATIENCE, "all nodes know a slot's new master", || {
                (self.owner(slot, asked) == Some(index)).then_some(())
            });
        }
    }

    fn node(&self, index: usize) -> &RedisServer {
        self.nodes.get(index).expect("a node of the cluster")
    }
}
