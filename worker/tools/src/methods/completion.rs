//! `completion/complete`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use task_mcp_mcp::{RpcError, ToolDescription, shown};

use super::{COMPLETE, describe};
use crate::call::Call;
use crate::offers::{Completer, Completion, Prompt, Reference, Resources, Typed};
use crate::stop::Stop;
use crate::tool::{BoxFuture, Output, Tool};

/// Most values of one answer (specification 2026-07-28, "Completion").
const VALUES_MAX: usize = 100;

/// Completes what any completer knows. An argument that exists and that none knows has no values; one that does not exist is an
/// error.
pub(super) struct Complete {
    pub(super) completers: Vec<Arc<dyn Completer>>,
    pub(super) prompts: Vec<Arc<dyn Prompt>>,
    pub(super) resources: Vec<Arc<dyn Resources>>,
}

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
            self.exists(&typed)?;
            let mut found = Completion::default();
            for completer in &self.completers {
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

impl Complete {
    /// Whether there is such an argument to complete.
    fn exists(&self, typed: &Typed) -> Result<(), RpcError> {
        let argument = &typed.argument;
        match &typed.of {
            Reference::Prompt(name) => {
                let prompt = self.prompts.iter().map(|prompt| prompt.describe()).find(|prompt| prompt.name == *name);
                let prompt = prompt.ok_or_else(|| {
                    let text = format!("Unknown prompt: {}; `prompts/list` names the prompts", shown(name));
                    RpcError::invalid_params(text)
                })?;
                if prompt.arguments.iter().any(|one| one.name == *argument) {
                    return Ok(());
                }
                let text = format!("the prompt `{}` has no argument `{}`", prompt.name, shown(argument));
                Err(RpcError::invalid_params(text))
            }
            Reference::Resource(uri) => {
                let mut templates = self.resources.iter().flat_map(|provider| provider.templates());
                match templates.find(|template| template.uri_template == *uri) {
                    Some(template) if variables(&template.uri_template).any(|name| name == argument) => Ok(()),
                    Some(template) => {
                        let template = template.uri_template;
                        let text = format!("the template `{template}` has no variable `{}`", shown(argument));
                        Err(RpcError::invalid_params(text))
                    }
                    // A URI that is complete has nothing to be completed.
                    None if self.resources.iter().any(|provider| provider.owns(uri)) => Ok(()),
                    None => {
                        let text =
                            format!("Unknown template: {}; `resources/templates/list` names the templates", shown(uri));
                        Err(RpcError::invalid_params(text))
                    }
                }
            }
        }
    }
}

/// The names of the variables of a URI template (RFC 6570).
fn variables(template: &str) -> impl Iterator<Item = &str> {
    let expressions = template.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(inside, _)| inside);
    let names =
        expressions.flat_map(|inside| inside.trim_start_matches(['+', '#', '.', '/', ';', '?', '&']).split(','));
    names.map(|name| name.trim_end_matches('*').split(':').next().unwrap_or(name))
}

fn typed(arguments: &Value) -> Result<Typed, RpcError> {
    let reference = object(arguments, "ref")?;
    let of = match reference.get("type").and_then(Value::as_str) {
        Some("ref/prompt") => Reference::Prompt(text(reference, "ref", "name")?),
        Some("ref/resource") => Reference::Resource(text(reference, "ref", "uri")?),
        _ => {
            let text = "the field `params.ref.type` must be `ref/prompt` or `ref/resource`";
            return Err(RpcError::invalid_params(text));
        }
    };
    let argument = object(arguments, "argument")?;
    let (name, value) = (text(argument, "argument", "name")?, text(argument, "argument", "value")?);
    Ok(Typed { of, argument: name, value, others: others(arguments)? })
}

/// The values that are there already.
fn others(arguments: &Value) -> Result<BTreeMap<String, String>, RpcError> {
    if arguments.get("context").is_none() {
        return Ok(BTreeMap::new());
    }
    let Some(others) = object(arguments, "context")?.get("arguments") else { return Ok(BTreeMap::new()) };
    let refused = || RpcError::invalid_params("the field `params.context.arguments` must be an object of strings");
    let others = others.as_object().ok_or_else(refused)?;
    let pairs = others.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    pairs.collect::<Option<_>>().ok_or_else(refused)
}

fn object<'a>(arguments: &'a Value, field: &str) -> Result<&'a Map<String, Value>, RpcError> {
    let value = arguments.get(field).and_then(Value::as_object);
    value.ok_or_else(|| RpcError::invalid_params(format!("the field `params.{field}` must be an object")))
}

fn text(of: &Map<String, Value>, field: &str, name: &str) -> Result<String, RpcError> {
    let value = of.get(name).and_then(Value::as_str).map(str::to_owned);
    value.ok_or_else(|| RpcError::invalid_params(format!("the field `params.{field}.{name}` must be a string")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_order_is_named() {
        let prompt = json!({ "type": "ref/prompt", "name": "x" });
        let argument = json!({ "name": "slug", "value": "" });
        for (arguments, named) in [
            (json!({}), "params.ref`"),
            (json!({ "ref": "x" }), "params.ref`"),
            (json!({ "ref": { "type": "ref/other" } }), "params.ref.type"),
            (json!({ "ref": { "type": "ref/prompt" } }), "params.ref.name"),
            (json!({ "ref": { "type": "ref/resource", "uri": 1 } }), "params.ref.uri"),
            (json!({ "ref": prompt }), "params.argument`"),
            (json!({ "ref": prompt, "argument": [] }), "params.argument`"),
            (json!({ "ref": prompt, "argument": { "value": "" } }), "params.argument.name"),
            (json!({ "ref": prompt, "argument": { "name": "slug", "value": null } }), "params.argument.value"),
            (json!({ "ref": prompt, "argument": argument, "context": 1 }), "params.context`"),
            (
                json!({ "ref": prompt, "argument": argument, "context": { "arguments": [] } }),
                "params.context.arguments",
            ),
            (
                json!({ "ref": prompt, "argument": argument, "context": { "arguments": { "a": 1 } } }),
                "params.context.arguments",
            ),
        ] {
            let error = typed(&arguments).unwrap_err();
            assert_eq!(error.code, task_mcp_mcp::code::INVALID_PARAMS);
            assert!(error.message.contains(named), "{arguments}: {error}");
        }
        let whole = json!({ "ref": prompt, "argument": argument, "context": { "arguments": { "a": "b" } } });
        assert_eq!(typed(&whole).unwrap().others, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    }

    #[test]
    fn a_template_has_its_variables() {
        let names = |template| variables(template).collect::<Vec<_>>().join(" ");
        assert_eq!(names("change://{slug}/delta/{+capability}"), "slug capability");
        assert_eq!(names("changes://active{?page,pageSize*,x:3}"), "page pageSize x");
        assert_eq!(names("plain://"), "");
    }
}
