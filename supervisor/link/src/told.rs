//! An error as the sentence of a message.

use std::error::Error;

/// An error with its causes, for a field such as [`reason`](crate::FromProcess::Fatal::reason): who reads it does not see the chain.
pub fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LinkError;

    #[test]
    fn every_cause_is_in_the_sentence() {
        let cause = serde_json::from_str::<u8>("x").unwrap_err();
        let text = cause.to_string();
        let error = LinkError::Json(cause);
        assert_eq!(told(&error), format!("{error}: {text}"));
    }
}
