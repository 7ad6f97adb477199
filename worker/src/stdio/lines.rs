//! Lines of standard input: one message each, of a bounded length.
//!
//! They are read by a thread of their own, for a read of a terminal or a pipe cannot be given up; it ends with the process.

use std::io::{self, BufRead, Read as _};
use std::thread;

use tokio::sync::mpsc;

/// Lines that wait to be looked at: little, for each may be as long as a body, and each is looked at at once.
const WAITING_MAX: usize = 4;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end.
    Message(Vec<u8>),
    /// One over the limit; it was skipped.
    TooLong,
}

/// Starts to read `input`; what is read comes out until the input ends.
///
/// # Errors
/// The system refuses the thread.
pub(super) fn read(input: impl io::Read + Send + 'static, line_bytes_max: usize) -> io::Result<mpsc::Receiver<Line>> {
    let (lines, heard) = mpsc::channel(WAITING_MAX);
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut input = io::BufReader::new(input);
        loop {
            match next(&mut input, line_bytes_max) {
                Ok(Some(line)) => {
                    // Nobody looks any more: the process takes leave.
                    if lines.blocking_send(line).is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(error = %error, "Standard input cannot be read; it counts as ended.");
                    return;
                }
            }
        }
    })?;
    Ok(heard)
}

/// The next line that is not blank; the last one needs no end.
fn next(input: &mut impl BufRead, limit: usize) -> io::Result<Option<Line>> {
    loop {
        let mut line = Vec::new();
        // One more than the limit, for the end of the line.
        let room = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        input.by_ref().take(room).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > limit {
            skip(input)?;
            return Ok(Some(Line::TooLong));
        }
        if !line.trim_ascii().is_empty() {
            return Ok(Some(Line::Message(line)));
        }
    }
}

/// Reads on to the end of the line, and keeps nothing of it.
fn skip(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (used, is_over) = end.map_or((buffer.len(), buffer.is_empty()), |end| (end + 1, true));
        input.consume(used);
        if is_over {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lines(text: &[u8], limit: usize) -> Vec<Line> {
        // A buffer smaller than any line, so that lines come in parts.
        let mut input = io::BufReader::with_capacity(3, text);
        std::iter::from_fn(|| next(&mut input, limit).unwrap()).collect()
    }

    fn message(text: &str) -> Line {
        Line::Message(text.as_bytes().to_vec())
    }

    #[test]
    fn a_line_too_long_is_skipped_and_the_next_one_is_read() {
        let read = lines(b"12345678\n123456789\n1\n", 8);
        assert_eq!(read, [message("12345678"), Line::TooLong, message("1")]);
        assert_eq!(lines(b"123456789", 8), [Line::TooLong], "also if it is the last one and has no end");
    }

    #[test]
    fn blank_lines_are_nothing_and_the_last_line_needs_no_end() {
        assert_eq!(lines(b"\n \t\r\na\r\n\nb", 8), [message("a\r"), message("b")]);
        assert_eq!(lines(b"", 8), []);
        assert_eq!(lines(b"\xff\n", 8), [Line::Message(vec![0xff])], "what it says is not looked at here");
    }
}
