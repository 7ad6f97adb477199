//! Lines of a stream of bytes, with a limit. No IO.

/// What may wait to be taken, in bytes.
pub(super) const LINE_BYTES: usize = 64 << 10;

/// What was received and not yet taken.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    limit_bytes: usize,
}

/// More bytes than the limit without a line that could be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {limit_bytes} bytes")]
pub(super) struct TooLong {
    pub(super) limit_bytes: usize,
}

impl Lines {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { buffer: Vec::new(), limit_bytes }
    }

    /// Takes in what was received. Once it failed, the stream is of no use any more.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.buffer.len() + bytes.len() > self.limit_bytes {
            return Err(TooLong { limit_bytes: self.limit_bytes });
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Everything that was received and not taken.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether a complete line waits to be taken. It may be an empty one.
    pub(super) fn has_line(&self) -> bool {
        self.buffer.contains(&b'\n')
    }

    /// The next complete line, without its end. Empty lines are skipped.
    pub(super) fn next_line(&mut self) -> Option<Vec<u8>> {
        loop {
            let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
            let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if !line.is_empty() {
                return Some(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_limit_holds_whether_or_not_lines_are_complete() {
        let mut lines = Lines::new(4);
        lines.push(b"abc\n").unwrap();
        assert_eq!(lines.push(b"d"), Err(TooLong { limit_bytes: 4 }));
        assert_eq!(lines.next_line(), Some(b"abc".to_vec()));
        lines.push(b"\r\n\n").unwrap();
        assert_eq!(lines.next_line(), None, "empty lines");
        assert_eq!(lines.push(b"abcde"), Err(TooLong { limit_bytes: 4 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_split_gives_the_same_lines(
            text in prop::collection::vec("[a-z]{1,9}", 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let bytes: Vec<u8> = text.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let mut lines = Lines::new(64);
            let mut found = Vec::new();
            for ends in at.windows(2) {
                lines.push(&bytes[ends[0]..ends[1]]).unwrap();
                found.extend(std::iter::from_fn(|| lines.next_line()));
            }
            let expected: Vec<Vec<u8>> = text.iter().map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
