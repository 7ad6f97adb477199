//! What an error of the server means for the connection it came from.

use redis::{RedisError, Value};

/// What follows from an error of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// The command was wrong, the server is well.
    Command,
    /// The server cannot do what it is there for. Enough of them in a row open the breaker.
    Server,
    /// It is not, or no longer, the server to ask: the connection is dropped and the master looked for.
    WrongServer,
}

/// Errors that speak of the command or of the data it met, not of the server's health.
const OF_THE_COMMAND: [&str; 7] =
    ["NOSCRIPT", "WRONGTYPE", "EXECABORT", "BUSYGROUP", "BUSYKEY", "CROSSSLOT", "NOTBUSY"];

/// Errors of a server that is no master, is not ready, or does not know us (any more).
const OF_THE_WRONG_SERVER: [&str; 9] =
    ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "NOAUTH", "UNBLOCKED"];

/// Errors whose text repeats no argument of a command.
const TELLING: [&str; 8] =
    ["NOPERM", "WRONGPASS", "NOAUTH", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "READONLY"];

/// Longest text of a server that is repeated, in characters.
const TEXT_CHARS: usize = 160;

/// What follows from one error code.
pub(crate) fn verdict(code: &str) -> Verdict {
    if OF_THE_WRONG_SERVER.contains(&code) {
        Verdict::WrongServer
    } else if OF_THE_COMMAND.contains(&code) {
        Verdict::Command
    } else {
        Verdict::Server
    }
}

/// The worst that follows from the errors inside an answer whose caller takes errors as values.
pub(crate) fn worst(answer: &Value) -> Option<Verdict> {
    match answer {
        Value::ServerError(error) => Some(verdict(error.code())),
        Value::Array(values) | Value::Set(values) => values.iter().filter_map(worst).max(),
        _ => None,
    }
}

/// The error codes in an error of the server; none if it is not one of the server's.
pub(crate) fn codes(error: &RedisError) -> Vec<String> {
    error
        .clone()
        .into_server_errors()
        .map_or_else(Vec::new, |errors| errors.iter().map(|(_, error)| error.code().to_owned()).collect())
}

/// An error as one line without secrets: a server may repeat the arguments of a command in its text, those of AUTH too, so only
/// texts of known errors are repeated.
pub(crate) fn describe(error: &RedisError) -> String {
    let Some(errors) = error.clone().into_server_errors() else {
        return match error.kind() {
            redis::ErrorKind::AuthenticationFailed => "it does not accept the user or the password".to_owned(),
            redis::ErrorKind::Parse => "it does not speak the protocol of Redis".to_owned(),
            redis::ErrorKind::RESP3NotSupported => "it does not speak RESP3, which came with Redis 6".to_owned(),
            redis::ErrorKind::Io => format!("the connection broke ({})", error.category()),
            _ => error.category().to_owned(),
        };
    };
    let Some((_, first)) = errors.first() else { return "an error without a text".to_owned() };
    match first.details() {
        Some(text) if TELLING.contains(&first.code()) => {
            format!(
                "{} {}",
                first.code(),
                text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS).collect::<String>()
            )
        }
        _ => first.code().chars().filter(|c| c.is_ascii_alphanumeric()).take(TEXT_CHARS).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(line: &str) -> RedisError {
        redis::parse_redis_value(line.as_bytes()).unwrap().extract_error().unwrap_err()
    }

    #[test]
    fn errors_of_a_command_are_not_held_against_the_server() {
        for (line, expected) in [
            ("-NOSCRIPT No matching script\r\n", Verdict::Command),
            ("-WRONGTYPE Operation against a key\r\n", Verdict::Command),
            ("-OOM command not allowed\r\n", Verdict::Server),
            ("-ERR nothing works\r\n", Verdict::Server),
            ("-NOPERM no\r\n", Verdict::Server),
            ("-READONLY You can't write\r\n", Verdict::WrongServer),
            ("-MOVED 1 10.0.0.1:1\r\n", Verdict::WrongServer),
            ("-LOADING Redis is loading\r\n", Verdict::WrongServer),
            ("-CLUSTERDOWN Hash slot not served\r\n", Verdict::WrongServer),
        ] {
            let code = codes(&server_error(line)).remove(0);
            assert_eq!(verdict(&code), expected, "{line}");
        }
    }

    #[test]
    fn errors_inside_an_answer_are_seen() {
        let answer = redis::parse_redis_value(b"*3\r\n+OK\r\n-NOSCRIPT no\r\n*1\r\n-READONLY no\r\n").unwrap();
        assert_eq!(worst(&answer), Some(Verdict::WrongServer));
        assert_eq!(worst(&Value::Okay), None);
    }

    #[test]
    fn what_a_server_repeats_of_a_command_is_not_repeated() {
        let leak = server_error("-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'u' 'geheim'\r\n");
        assert!(!describe(&leak).contains("geheim"), "{}", describe(&leak));
        let told = server_error("-NOPERM User u has no permissions to run the 'info' command\r\n");
        assert!(describe(&told).contains("'info'"), "{}", describe(&told));
    }
}
