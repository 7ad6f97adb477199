//! Patterns of operators.

/// Whether `text` matches `pattern`, where `*` stands for any characters, also none, and `?` for one. It takes no longer than the
/// product of their lengths.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to go on if what follows the last star does not fit here: one character later.
    let mut again = None;
    loop {
        let (mut pattern_next, mut text_next) = (pattern.clone(), text.clone());
        match (pattern_next.next(), text_next.next()) {
            (Some('*'), _) => {
                again = Some((pattern_next.clone(), text.clone()));
                pattern = pattern_next;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                (pattern, text) = (pattern_next, text_next)
            }
            (None, None) => return true,
            _ => {
                let Some((after_star, from)) = &mut again else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, text) = (after_star.clone(), from.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slowly(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=text.len()).any(|from| slowly(rest, &text[from..])),
            (['?', rest @ ..], [_, more @ ..]) => slowly(rest, more),
            ([one, rest @ ..], [other, more @ ..]) => one == other && slowly(rest, more),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_quick_way_finds_what_the_plain_one_does(pattern in "[ab*?]{0,8}", text in "[abé]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &text), slowly(&chars(&pattern), &chars(&text)));
        }
    }

    #[test]
    fn a_tool_is_found_by_its_name() {
        assert!(matches("change.show *", r#"change.show {"slug":"a"}"#) && !matches("change.show", "change.show {}"));
    }
}
