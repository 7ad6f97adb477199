//! Why a call ends without a result.

use serde_json::json;
use task_mcp_mcp::{Questions, RpcError, Unanswered, code as rpc};

use crate::error::{ToolError, code};

/// Why a call ends without a result. What a tool itself has to say is [`Stop::Error`]; the others are the protocol's.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Stop {
    /// An error that the caller's model is told as a result.
    #[error(transparent)]
    Error(#[from] ToolError),
    /// An error of the protocol, such as a resource that does not exist. A call that writes ends with one before it does anything, or
    /// with one that does not say that its parameters are wrong.
    #[error(transparent)]
    Protocol(#[from] RpcError),
    /// The client has to be asked first: it calls again with its answers.
    #[error("the client has to be asked first")]
    NeedsInput {
        /// What the questions are about, with the state it is in.
        about: String,
        /// What is to be asked.
        questions: Questions,
    },
}

impl Stop {
    /// The same as an error of a tool, for a dialect that has nothing else.
    pub fn into_error(self) -> ToolError {
        match self {
            Self::Error(error) => error,
            Self::Protocol(error) => ToolError::new(code::UNANSWERABLE, error.message.clone())
                .with_details(json!({ "rpcCode": error.code, "data": error.data })),
            Self::NeedsInput { .. } => {
                ToolError::new(code::UNANSWERABLE, "the client has to be asked, which this way of calling cannot do")
                    .with_hint("call over MCP with a client that supports elicitation")
            }
        }
    }

    /// Whether the client has to be asked first.
    pub(crate) fn asks(&self) -> bool {
        matches!(self, Self::NeedsInput { .. })
    }

    /// Whether the call ended because an answer is missing or does not count. Calls ask before they do anything, so nothing was done,
    /// and the same call may be run again.
    pub(crate) fn is_for_want_of_answers(&self) -> bool {
        match self {
            Self::NeedsInput { .. } => true,
            Self::Protocol(error) => {
                [rpc::INVALID_PARAMS, rpc::MISSING_REQUIRED_CLIENT_CAPABILITY].contains(&error.code)
            }
            Self::Error(error) => error.code == code::UNANSWERABLE,
        }
    }

    /// The code it is counted under.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Error(error) => &error.code,
            Self::Protocol(error) if error.code == task_mcp_mcp::code::INVALID_PARAMS => code::INVALID_INPUT,
            Self::Protocol(_) | Self::NeedsInput { .. } => code::UNANSWERABLE,
        }
    }
}

impl From<Unanswered> for Stop {
    fn from(unanswered: Unanswered) -> Self {
        if let Some(error) = unanswered.to_rpc() {
            return Self::Protocol(error);
        }
        match unanswered {
            Unanswered::NotYet { about, questions } => Self::NeedsInput { about, questions },
            ends @ Unanswered::Stopping => {
                ToolError::new(code::UNANSWERABLE, ends.to_string()).with_hint("call again").into()
            }
            full @ Unanswered::TooMany(_) => ToolError::new(code::UNANSWERABLE, full.to_string())
                .with_hint("call again in a moment; nothing was done")
                .into(),
            other => ToolError::new(code::UNANSWERABLE, other.to_string())
                .with_hint("call again when the client can answer")
                .into(),
        }
    }
}
