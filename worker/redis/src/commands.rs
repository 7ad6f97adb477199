//! What is asked of a server in one go.

use redis::{Cmd, Pipeline, RedisError, Value, aio::MultiplexedConnection};

/// One command, or a pipeline of several (with or without MULTI).
#[derive(Debug)]
pub struct Commands(Kind);

#[derive(Debug)]
enum Kind {
    One(Cmd),
    Several(Pipeline),
}

impl Commands {
    /// Sends them, and gives the answer as it came.
    pub(crate) async fn run(&self, connection: &mut MultiplexedConnection) -> Result<Value, RedisError> {
        match &self.0 {
            Kind::One(command) => command.query_async(connection).await,
            Kind::Several(commands) => commands.query_async(connection).await,
        }
    }

    /// Number of answers that are waited for.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Kind::One(_) => 1,
            Kind::Several(commands) => commands.len(),
        }
    }
}

impl From<Cmd> for Commands {
    fn from(command: Cmd) -> Self {
        Self(Kind::One(command))
    }
}

impl From<&mut Cmd> for Commands {
    fn from(command: &mut Cmd) -> Self {
        Self(Kind::One(command.clone()))
    }
}

impl From<Pipeline> for Commands {
    fn from(commands: Pipeline) -> Self {
        Self(Kind::Several(commands))
    }
}

impl From<&mut Pipeline> for Commands {
    fn from(commands: &mut Pipeline) -> Self {
        Self(Kind::Several(commands.clone()))
    }
}
