//! `prompts/get`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use task_mcp_mcp::{RpcError, ToolDescription, shown};

use super::{GET_PROMPT, describe};
use crate::call::Call;
use crate::offers::{Prompt, PromptMessage, Role};
use crate::stop::Stop;
use crate::tool::{BoxFuture, Output, Tool};

/// Gets a prompt by its name.
pub(super) struct Get(pub(super) Vec<Arc<dyn Prompt>>);

impl Tool for Get {
    fn describe(&self) -> ToolDescription {
        let strings = json!({ "type": "object", "additionalProperties": { "type": "string" } });
        describe(GET_PROMPT, json!({ "name": { "type": "string" }, "arguments": strings }), &["name"])
    }

    fn error_codes(&self) -> &'static [&'static str] {
        &[]
    }

    fn call<'a>(&'a self, call: &'a Call, arguments: Value) -> BoxFuture<'a, Result<Output, Stop>> {
        Box::pin(async move {
            let name = arguments.get("name").and_then(Value::as_str).unwrap_or_default();
            let Some(prompt) = self.0.iter().find(|prompt| prompt.describe().name == name) else {
                let text = format!("Unknown prompt: {}; `prompts/list` names the prompts", shown(name));
                return Err(RpcError::invalid_params(text).into());
            };
            let description = prompt.describe();
            let given: BTreeMap<String, String> = arguments
                .get("arguments")
                .and_then(Value::as_object)
                .map(|all| {
                    all.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
                })
                .unwrap_or_default();
            for argument in &description.arguments {
                if argument.required && !given.contains_key(&argument.name) {
                    let text =
                        format!("the argument `{}` of the prompt `{}` is missing", argument.name, description.name);
                    return Err(RpcError::invalid_params(text).into());
                }
            }
            if let Some(unknown) = given.keys().find(|name| !description.arguments.iter().any(|one| one.name == **name))
            {
                let text = format!("the prompt `{}` has no argument `{}`", description.name, shown(unknown));
                return Err(RpcError::invalid_params(text).into());
            }
            let messages: Vec<Value> = prompt.get(call, given).await?.iter().map(PromptMessage::to_json).collect();
            Ok(Output::of(&json!({ "description": description.description, "messages": messages }))?)
        })
    }
}

impl PromptMessage {
    fn to_json(&self) -> Value {
        let role = match self.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        json!({ "role": role, "content": self.content.to_json() })
    }
}
