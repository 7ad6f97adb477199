//! Which lines are inside code fences or HTML comments and so are never structure.

use super::js::is_space;

/// The lines of a document with the fence mask.
pub(crate) struct Lines<'a> {
    lines: Vec<&'a str>,
    masked: Vec<bool>,
}

impl<'a> Lines<'a> {
    /// Splits at `\n` and marks fenced lines, opener and closer included; an unclosed fence masks to the end.
    pub(crate) fn new(text: &'a str) -> Self {
        let lines: Vec<&str> = text.split('\n').collect();
        let mut fence = Fence::default();
        let masked = lines.iter().map(|line| fence.feed(line)).collect();
        Self { lines, masked }
    }

    /// All lines in order: number from 0, text, masked.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &'a str, bool)> + '_ {
        self.lines.iter().zip(&self.masked).enumerate().map(|(i, (line, masked))| (i, *line, *masked))
    }

    /// The lines outside fences.
    pub(crate) fn open(&self) -> impl Iterator<Item = (usize, &'a str)> + '_ {
        self.iter().filter(|(_, _, masked)| !masked).map(|(i, line, _)| (i, line))
    }

    /// Lines `from..to` joined as they were; an end behind the last line is cut.
    pub(crate) fn join(&self, from: usize, to: usize) -> String {
        self.lines.get(from..to.min(self.lines.len())).map(|lines| lines.join("\n")).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }
}

/// The text with HTML comments outside fences replaced by blanks; an unterminated comment reaches to the end.
/// Line numbers stay.
pub(crate) fn blank_comments(text: &str) -> String {
    let mut fence = Fence::default();
    let mut in_comment = false;
    let mut out = Vec::new();
    for line in text.split('\n') {
        if !in_comment && fence.feed(line) {
            out.push(line.to_owned());
            continue;
        }
        let mut kept = String::new();
        let mut rest = line;
        loop {
            if in_comment {
                let Some((_, behind)) = rest.split_once("-->") else { break };
                in_comment = false;
                rest = behind;
            } else {
                let Some((before, inside)) = rest.split_once("<!--") else {
                    kept.push_str(rest);
                    break;
                };
                kept.push_str(before);
                in_comment = true;
                rest = inside;
            }
        }
        out.push(kept);
    }
    out.join("\n")
}

/// The open fence, if any: its character and length.
#[derive(Default)]
struct Fence(Option<(char, usize)>);

impl Fence {
    /// Takes the next line; says whether it is part of a fence.
    fn feed(&mut self, line: &str) -> bool {
        let mark = mark(line);
        match (self.0, mark) {
            (None, Some((c, length, _))) => {
                self.0 = Some((c, length));
                true
            }
            (None, None) => false,
            (Some((open, length)), mark) => {
                if mark.is_some_and(|(c, n, bare)| c == open && n >= length && bare) {
                    self.0 = None;
                }
                true
            }
        }
    }
}

/// A run of three or more backticks or tildes at the start: character, length, nothing behind it.
fn mark(line: &str) -> Option<(char, usize, bool)> {
    let line = line.trim_start_matches(is_space);
    let c = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = line.chars().take_while(|x| *x == c).count();
    let behind = line.trim_start_matches(c);
    (length >= 3).then(|| (c, length, behind.chars().all(is_space)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(text: &str) -> Vec<bool> {
        Lines::new(text).iter().map(|(_, _, masked)| masked).collect()
    }

    #[test]
    fn a_fence_closes_with_its_own_character_and_length() {
        assert_eq!(mask("a\n````md\n```\n~~~~\n````\nb"), [false, true, true, true, true, false]);
    }

    #[test]
    fn an_info_string_does_not_close() {
        assert_eq!(mask("```\n```x\n```\nb"), [true, true, true, false]);
    }

    #[test]
    fn an_unclosed_fence_masks_to_the_end() {
        assert_eq!(mask("a\n~~~\nb"), [false, true, true]);
    }

    #[test]
    fn comments_are_blanked_across_lines_but_not_in_fences() {
        assert_eq!(blank_comments("a<!-- x\ny -->b\n```\n<!--\n```\nc<!-- d"), "a\nb\n```\n<!--\n```\nc");
    }
}
