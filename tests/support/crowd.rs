//! Calls over kept connections to the workers of one or several instances, each over a random one: which worker answers is chance.

use std::net::SocketAddr;

use serde_json::{Value, json};
use task_mcp_bench::Connection;
use tokio::runtime::{Builder, Runtime};

use super::{
    rpc::modern_call,
    server::{REQUEST_LIMIT, Server},
};

/// Connections to the workers of some instances. One thread's.
pub struct Crowd {
    runtime: Runtime,
    places: Vec<Place>,
    random: Random,
}

struct Place {
    address: SocketAddr,
    connection: Option<Connection>,
}

impl Crowd {
    /// So many connections to each server; `seed` decides which is taken when.
    pub fn new(servers: &[&Server], each: usize, seed: u64) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let addresses = servers.iter().flat_map(|server| std::iter::repeat_n(server.address(), each));
        let places = addresses.map(|address| Place { address, connection: None }).collect();
        Self { runtime, places, random: Random::new(seed) }
    }

    /// Opens the first connection: the port of this end, by which the worker at the other end can be found.
    pub fn connect(&mut self) -> u16 {
        let Place { address, connection } = &mut self.places[0];
        let open = self.runtime.block_on(Connection::open(*address, REQUEST_LIMIT)).expect("a connection");
        connection.insert(open).local_port()
    }

    /// Calls a tool over a random connection: its structured result, or what was answered instead. A missing answer fails the test.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Result<Value, String> {
        let at = self.random.below(self.places.len());
        let place = &mut self.places[at];
        let request = modern_call(tool, arguments).to_bytes(&place.address.to_string(), true);
        let connection = &mut place.connection;
        let address = place.address;
        let answered = self.runtime.block_on(async {
            if !connection.as_ref().is_some_and(Connection::is_reusable) {
                *connection = Some(Connection::open(address, REQUEST_LIMIT).await?);
            }
            let open = connection.as_mut().expect("opened above");
            open.exchange(&request, REQUEST_LIMIT).await.map(|answer| (answer.status, answer.body.to_vec()))
        });
        let (status, body) = answered.unwrap_or_else(|failure| panic!("{tool}: {failure}"));
        let message: Value = serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
        match message.pointer("/result/structuredContent") {
            Some(content) if status == 200 && message["result"]["isError"] != true => Ok(content.clone()),
            _ => Err(format!("{status} {message}")),
        }
    }
}

/// Numbers by chance that a seed repeats (xorshift64, G. Marsaglia, "Xorshift RNGs").
pub struct Random(u64);

impl Random {
    /// Another sequence for each seed.
    pub fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}
