//! Nesting depth of a JSON body.

/// Whether `body` nests arrays and objects deeper than `limit`, told by one pass over the bytes without recursion, so that a
/// hostile body costs no stack. The body need not be valid JSON: what follows an unclosed string counts as part of it.
pub fn exceeds_depth(body: &[u8], limit: u32) -> bool {
    let mut depth: u32 = 0;
    let mut in_string = false;
    let mut escaped = false;
    for &byte in body {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_only_structure() {
        assert!(!exceeds_depth(br#"{"a":[1,2]}"#, 2));
        assert!(exceeds_depth(br#"{"a":[[1]]}"#, 2));
        assert!(!exceeds_depth(br#"["[[[[\"[[[["]"#, 1));
        assert!(!exceeds_depth(b"[][][][]", 1));
        assert!(exceeds_depth("[".repeat(10_000).as_bytes(), 9_999));
    }
}
