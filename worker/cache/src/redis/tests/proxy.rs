//! A network that can be broken: everything between a machine and its server goes through it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

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
    delay_ms: Arc<AtomicU64>,
    _task: Running,
}

impl Proxy {
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let way = Arc::new(watch::Sender::new(Way::To(port)));
        let ways = Arc::clone(&way);
        let delay_ms = Arc::new(AtomicU64::new(0));
        let delay = Arc::clone(&delay_ms);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, ways.subscribe(), Arc::clone(&delay)));
            }
        });
        Self { port: own, way, delay_ms, _task: Running(task) }
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

    /// What is sent to the server from now on arrives so much later, also if the connection has ended meanwhile.
    pub(super) fn delay(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn swallow(&self) {
        self.way.send_replace(Way::Hole);
    }
}

async fn carry(here: TcpStream, mut ways: watch::Receiver<Way>, delay_ms: Arc<AtomicU64>) {
    let Way::To(port) = *ways.borrow_and_update() else { return };
    let Ok(there) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let ((mut from_here, mut to_here), (mut from_there, to_there)) = (here.into_split(), there.into_split());
    let (late, due) = mpsc::unbounded_channel();
    tokio::spawn(arrive(due, to_there));
    let forth = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_here.read(&mut bytes).await {
            let at = Instant::now() + Duration::from_millis(delay_ms.load(Ordering::Relaxed));
            if late.send((at, bytes[..count].to_vec())).is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = forth => return,
        _ = tokio::io::copy(&mut from_there, &mut to_here) => return,
        _ = ways.changed() => {}
    }
    if *ways.borrow_and_update() == Way::Hole {
        // Until the other end gives up, or for longer than any test lasts.
        let _ = tokio::time::timeout(Duration::from_secs(60), ways.changed()).await;
    }
}

/// Delivers what is on its way.
async fn arrive(mut due: mpsc::UnboundedReceiver<(Instant, Vec<u8>)>, mut there: OwnedWriteHalf) {
    while let Some((at, bytes)) = due.recv().await {
        tokio::time::sleep_until(at).await;
        if there.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
