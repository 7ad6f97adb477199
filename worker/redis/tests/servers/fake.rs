//! A server that says what a test wants it to.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// What is answered to a command; nothing closes the connection.
pub type Script = dyn Fn(&[String]) -> Option<Vec<u8>> + Send + Sync;

pub struct Fake {
    pub url: String,
    accepted: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    port: u16,
}

impl Fake {
    /// Runs `serve` on each connection, in a thread of its own.
    pub fn serve(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (accepted, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end, serve) = (Arc::clone(&accepted), Arc::clone(&ended), Arc::new(serve));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream));
            }
        });
        Self { url: format!("redis://127.0.0.1:{port}"), accepted, ended, port }
    }

    /// A server that shakes hands like a master, and then follows the script.
    pub fn scripted(script: impl Fn(&[String]) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let script: Arc<Script> = Arc::new(script);
        Self::serve(move |stream| _ = converse(stream, &*script))
    }

    /// Connections it took.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn converse(stream: TcpStream, script: &Script) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(command) = read_command(&mut reader)? {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let answer = match words.as_slice() {
            ["CLIENT", ..] => Some(b"+OK\r\n".to_vec()),
            ["PING"] => Some(b"+PONG\r\n".to_vec()),
            ["INFO", "server"] => Some(b"$14\r\nrun_id:0123456\r\n".to_vec()),
            ["INFO", "replication"] => Some(b"$11\r\nrole:master\r\n".to_vec()),
            _ => script(&command),
        };
        match answer {
            Some(bytes) => writer.write_all(&bytes)?,
            None => return Ok(()),
        }
    }
    Ok(())
}

fn read_command(reader: &mut impl BufRead) -> std::io::Result<Option<Vec<String>>> {
    let mut line = String::new();
    let mut number = |reader: &mut dyn BufRead| -> std::io::Result<Option<usize>> {
        line.clear();
        Ok(if reader.read_line(&mut line)? == 0 { None } else { line.trim_end()[1..].parse().ok() })
    };
    let Some(count) = number(reader)? else { return Ok(None) };
    let mut words = Vec::new();
    for _ in 0..count {
        let Some(length) = number(reader)? else { return Ok(None) };
        let mut word = vec![0; length + 2];
        reader.read_exact(&mut word)?;
        word.truncate(length);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Ok(Some(words))
}
