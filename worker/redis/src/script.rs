//! A script: what happens at the server in one step.

use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue};

use crate::{ask::Answer, error::RedisError, redis_handle::Redis};

/// A script, and the name under which a server that has run it knows it (SHA-1).
#[derive(Debug, Clone)]
pub struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    /// The script of this text.
    pub fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }
}

impl Redis {
    /// Runs a script: by its hash and, if the server was restarted or was never asked for it, by its text, both together within
    /// `budget`. `arguments` adds what follows the keys.
    ///
    /// # Errors
    /// As [`Redis::ask`].
    pub async fn run<T: FromRedisValue + Send>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: impl Fn(&mut Cmd),
        budget: Duration,
    ) -> Result<Answer<T>, RedisError> {
        let began = Instant::now();
        let command = |name, what: &str| {
            let mut command = redis::cmd(name);
            command.arg(what).arg(keys.len()).arg(keys);
            arguments(&mut command);
            command
        };
        match self.ask(command("EVALSHA", &script.hash), budget).await {
            Err(error) if error.code().as_deref() == Some("NOSCRIPT") => {
                self.ask(command("EVAL", script.text), budget.saturating_sub(began.elapsed())).await
            }
            answered => answered,
        }
    }
}
