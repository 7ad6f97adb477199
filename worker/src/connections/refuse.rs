//! How a connection is told that it is not let in.
//!
//! Nothing is read before the answer: a client that says nothing costs nothing. Then what it has sent is thrown away for a moment,
//! for a socket closed with bytes unread is reset, and a reset may overtake the answer (RFC 9112, section 9.6).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::gate::Refused;

/// Clients of a process that are being told at a time; one more is sent away without a word.
pub(super) const TOLD_MAX: usize = 256;
/// How long a client may take to hear it.
const PATIENCE: Duration = Duration::from_secs(1);
/// What is thrown away of what it sends, in bytes.
const DISCARDED_MAX: usize = 64 << 10;

static TOLD: AtomicUsize = AtomicUsize::new(0);

/// Answers without having been asked, and ends the connection.
pub(super) async fn refuse(mut stream: TcpStream, reason: Refused) {
    let Some(_told) = Told::one_more() else { return };
    let _ = timeout(PATIENCE, async {
        stream.write_all(answer(reason).as_bytes()).await?;
        stream.shutdown().await?;
        let (mut piece, mut discarded) = ([0; 4096], 0);
        while discarded < DISCARDED_MAX {
            match stream.read(&mut piece).await? {
                0 => break,
                bytes => discarded += bytes,
            }
        }
        std::io::Result::Ok(())
    })
    .await;
}

fn answer(reason: Refused) -> String {
    let (status, code, message) = match reason {
        Refused::Address => (
            "429 Too Many Requests",
            "TOO_MANY_CONNECTIONS",
            "this address has as many connections as it may have (limits.max_connections_per_ip)",
        ),
        Refused::Full => (
            "503 Service Unavailable",
            "SERVER_BUSY",
            "the server has as many connections as it may have, and none of this worker is idle (limits.max_connections)",
        ),
    };
    let body = format!(r#"{{"apiVersion":"1.0.0","error":{{"code":"{code}","message":"{message}"}}}}"#);
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nRetry-After: 1\r\n\
         Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// A client that is being told.
struct Told;

impl Told {
    fn one_more() -> Option<Self> {
        let told = Self;
        (TOLD.fetch_add(1, Ordering::Relaxed) < TOLD_MAX).then_some(told)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        TOLD.fetch_sub(1, Ordering::Relaxed);
    }
}
