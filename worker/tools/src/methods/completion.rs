//! `completion/complete`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use task_mcp_mcp::{RpcError, ToolDescription};

use super::{COMPLETE, describe};
use crate::call::Call;
use crate::offers::{Completer, Completion, Reference, Typed};
use crate::stop::Stop;
use crate::tool::{BoxFuture, Output, Tool};

/// Most values of one answer (specification 2026-07-28, "Completion").
const VALUES_MAX: usize = 100;

/// Completes what any completer knows.
pub(super) struct Complete(pub(super) Vec<Arc<dyn Completer>>);

impl Tool for Complete {
    fn describe(&self) -> ToolDescription {
        describe(COMPLETE, json!({}), &[])
    }

    fn error_codes(&self) -> &'static [&'static str] {
        &[]
    }

    fn call<'a>(&'a self, call: &'a Call, arguments: Value) -> BoxFuture<'a, Result<Output, Stop>> {
        Box::pin(async move {
            let typed = typed(&arguments)?;
            let mut found = Completion::default();
            for completer in &self.0 {
                if let Some(completion) = completer.complete(call, &typed).await? {
                    found = completion;
                    break;
                }
            }
            let total = found.total.unwrap_or(found.values.len());
            let has_more = found.values.len() > VALUES_MAX || total > found.values.len();
            found.values.truncate(VALUES_MAX);
            Ok(Output::of(&json!({ "completion": { "values": found.values, "total": total, "hasMore": has_more } }))?)
        })
    }
}

fn typed(arguments: &Value) -> Result<Typed, RpcError> {
    let text = |of: &Value, field: &str, name: &str| {
        of.get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| RpcError::invalid_params(format!("the field `params.{field}.{name}` must be a string")))
    };
    let part = |name: &str| arguments.get(name).cloned().unwrap_or(Value::Null);
    let reference = part("ref");
    let of = match reference.get("type").and_then(Value::as_str) {
        Some("ref/prompt") => Reference::Prompt(text(&reference, "ref", "name")?),
        Some("ref/resource") => Reference::Resource(text(&reference, "ref", "uri")?),
        _ => {
            let text = "the field `params.ref.type` must be `ref/prompt` or `ref/resource`";
            return Err(RpcError::invalid_params(text));
        }
    };
    let argument = part("argument");
    let others: BTreeMap<String, String> = arguments
        .pointer("/context/arguments")
        .and_then(Value::as_object)
        .map(|all| all.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect())
        .unwrap_or_default();
    Ok(Typed {
        of,
        argument: text(&argument, "argument", "name")?,
        value: text(&argument, "argument", "value")?,
        others,
    })
}
