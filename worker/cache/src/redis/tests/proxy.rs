//! A network that can be broken: everything between a machine and its server goes through it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::Running;

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// They lead to this port of loopback.
    To(u16),
    /// They are closed, and no new one is made.
    Cut,
    /// They stay, and nothing arrives: packets vanish.
    Hole,
}

/// The network.
pub(super) struct Proxy {
    port: u16,
    way: Arc<watch::Sender<Way>>,
    _task: Running,
}

impl Proxy {
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let way = Arc::new(watch::Sender::new(Way::To(port)));
        let ways = Arc::clone(&way);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, ways.subscribe()));
            }
        });
        Self { port: own, way, _task: Running(task) }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends all connections; new ones lead there.
    pub(super) fn lead_to(&self, port: u16) {
        self.way.send_replace(Way::Cut);
        self.way.send_replace(Way::To(port));
    }

    pub(super) fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    pub(super) fn swallow(&self) {
        self.way.send_replace(Way::Hole);
    }
}

async fn carry(mut here: TcpStream, mut ways: watch::Receiver<Way>) {
    let Way::To(port) = *ways.borrow_and_update() else { return };
    let Ok(mut there) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut here, &mut there) => return,
        _ = ways.changed() => {}
    }
    if *ways.borrow_and_update() == Way::Hole {
        // Until the other end gives up, or for longer than any test lasts.
        let _ = tokio::time::timeout(Duration::from_secs(60), ways.changed()).await;
    }
}
