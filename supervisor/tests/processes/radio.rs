//! A process that uses the bus as it is told, by lines in a file, and notes what it hears in another.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use task_mcp_link::{Decoder, FromProcess, PAYLOAD_BYTES_MAX, Received, ToProcess, encode};

/// How often it looks whether it is told something.
const LOOK: Duration = Duration::from_millis(5);

pub struct Radio {
    link: UnixStream,
    name: String,
    orders: PathBuf,
    heard: File,
    is_deaf: bool,
    floods: bool,
    /// A question that is answered after the next one.
    postponed: Option<u64>,
}

impl Radio {
    pub fn new(link: UnixStream, stage: &Path, name: &str) -> Self {
        link.set_read_timeout(Some(LOOK)).unwrap();
        Self {
            link,
            name: name.to_owned(),
            orders: orders_of(stage, name),
            heard: File::create(heard_of(stage, name)).unwrap(),
            is_deaf: false,
            floods: false,
            postponed: None,
        }
    }

    /// Until it is to drain; the exit code.
    pub fn play(mut self) -> i32 {
        let mut decoder = Decoder::<ToProcess>::new();
        let mut bytes = [0; 64 << 10];
        loop {
            self.obey();
            if self.floods {
                self.publish(0..100, 1_000);
            }
            if self.is_deaf {
                std::thread::sleep(LOOK);
                continue;
            }
            match self.link.read(&mut bytes) {
                Ok(0) => return 1,
                Ok(count) => decoder.push(&bytes[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("{error}"),
            }
            while let Some(received) = decoder.next_message().unwrap() {
                let Received::Message(message) = received else { panic!("{received:?}") };
                match message {
                    ToProcess::Event { topic, payload } => self.note(&format!("{topic} {}", payload.trim())),
                    ToProcess::Resync => self.note("resync"),
                    ToProcess::Ask { id, question } => {
                        if self.answer(id, question) {
                            return 70;
                        }
                    }
                    ToProcess::Drain { .. } => {
                        self.note("drain");
                        self.say(&FromProcess::Draining);
                        self.say(&FromProcess::Drained { forced: false });
                        return 0;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Does what it is told, if it is, and removes the file then.
    fn obey(&mut self) {
        let Ok(text) = fs::read_to_string(&self.orders) else { return };
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |index: usize| words[index].parse().unwrap();
            match words[0] {
                "publish" => self.publish(number(1)..number(2), number(3)),
                "too-long" => {
                    let payload = "x".repeat(PAYLOAD_BYTES_MAX + 1);
                    self.say(&FromProcess::Publish { topic: self.name.clone(), payload });
                }
                "lost" => self.say(&FromProcess::PublishLost),
                "unknown" => {
                    let json = br#"{"v":1,"type":"from_the_future","x":[1]}"#;
                    let frame = [&(json.len() as u32).to_le_bytes()[..], json].concat();
                    self.link.write_all(&frame).unwrap();
                }
                "answer" => self.say(&FromProcess::Answered { id: number(1) as u64, answer: "7".to_owned() }),
                "deaf" => self.is_deaf = true,
                "hear" => self.is_deaf = false,
                "flood" => self.floods = true,
                other => panic!("{other}"),
            }
        }
        fs::remove_file(&self.orders).unwrap();
    }

    fn publish(&mut self, numbers: std::ops::Range<usize>, bytes: usize) {
        for number in numbers {
            self.say(&FromProcess::Publish { topic: self.name.clone(), payload: format!("{number:<bytes$}") });
        }
    }

    /// Answers as the question says; true if it is to die.
    fn answer(&mut self, id: u64, question: String) -> bool {
        match question.as_str() {
            r#""die""# => return true,
            r#""never""# => self.note("never"),
            r#""later""# => {
                self.note("later");
                self.postponed = Some(id);
            }
            r#""nonsense""# => self.say(&FromProcess::Answered { id, answer: "{".to_owned() }),
            _ => {
                self.say(&FromProcess::Answered { id, answer: question });
                if let Some(id) = self.postponed.take() {
                    self.say(&FromProcess::Answered { id, answer: r#""now""#.to_owned() });
                }
            }
        }
        false
    }

    fn say(&mut self, message: &FromProcess) {
        self.link.write_all(&encode(message).unwrap()).unwrap();
    }

    fn note(&mut self, line: &str) {
        self.heard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

pub fn orders_of(stage: &Path, name: &str) -> PathBuf {
    stage.join(format!("{name}.orders"))
}

pub fn heard_of(stage: &Path, name: &str) -> PathBuf {
    stage.join(format!("{name}.heard"))
}
