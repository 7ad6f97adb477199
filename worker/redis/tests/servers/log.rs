//! What is said of it.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use task_mcp_test_servers::RedisServer;
use tracing_subscriber::fmt::MakeWriter;

use crate::world::{SHORT, eventually, open, settings};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

// One thread: the subscriber is that of the test's thread, and the keeper runs on it.
#[tokio::test]
async fn a_loss_and_a_return_are_one_line_each() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(log.clone()).finish());
    let mut server = RedisServer::builder().password("geheim").start();
    let world = open(&settings(&server.url()));
    world.up().await;
    server.kill();
    eventually("the breaker is open", || world.breaker_open().then_some(())).await;
    for _ in 0..100 {
        world.get(SHORT).await.unwrap_err();
    }
    server.restart();
    world.up().await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("it is left alone until a probe succeeds"), 1, "{text}");
    assert_eq!(lines("it is asked again"), 1, "{text}");
    assert_eq!(lines("Connected to Redis"), 2, "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(!text.contains("geheim"), "{text}");
}
