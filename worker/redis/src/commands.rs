//! What is asked of a server in one go.

use redis::{Arg, Cmd, Pipeline, RedisError, Value, aio::MultiplexedConnection};

use crate::connection::IN_FLIGHT_MAX;

/// Bytes of arguments that count like one more command: with [`IN_FLIGHT_MAX`] it makes 64 MiB.
const WEIGHT_BYTES: usize = 64 * 1024;

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

    /// What they count for among those that may be in flight: one each, and one for each [`WEIGHT_BYTES`] of arguments.
    pub(crate) fn weight(&self) -> u32 {
        let (count, bytes) = match &self.0 {
            Kind::One(command) => (1, argument_bytes(command)),
            Kind::Several(commands) => (commands.len(), commands.cmd_iter().map(argument_bytes).sum()),
        };
        // What weighs more than all that may be in flight is sent when nothing else is.
        u32::try_from((count + bytes / WEIGHT_BYTES).clamp(1, IN_FLIGHT_MAX)).unwrap_or(u32::MAX)
    }
}

fn argument_bytes(command: &Cmd) -> usize {
    command
        .args_iter()
        .map(|argument| match argument {
            Arg::Simple(bytes) => bytes.len(),
            _ => 0,
        })
        .sum()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_weigh_by_number_and_bytes() {
        let set = |bytes: usize| {
            let mut command = redis::cmd("SET");
            command.arg("k").arg(vec![b'v'; bytes]);
            command
        };
        let weight = |commands: Commands| commands.weight();
        assert_eq!(weight(set(10).into()), 1);
        assert_eq!(weight(set(WEIGHT_BYTES).into()), 2);
        let mut both = redis::pipe();
        both.add_command(set(10)).add_command(set(3 * WEIGHT_BYTES));
        assert_eq!(weight(both.into()), 5);
        assert_eq!(weight(set(IN_FLIGHT_MAX * WEIGHT_BYTES).into()) as usize, IN_FLIGHT_MAX);
        assert_eq!(weight(redis::pipe().into()), 1);
    }
}
