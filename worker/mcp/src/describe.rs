//! What the server tells of its tools, prompts and resources.

use serde::Serialize;
use serde_json::Value;

/// One tool as `tools/list` shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolDescription {
    /// Unique name.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// What it does, for a model.
    pub description: String,
    /// JSON Schema (2020-12) of the arguments.
    pub input_schema: Value,
    /// JSON Schema (2020-12) of `structuredContent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// Hints on its behaviour.
    pub annotations: ToolAnnotations,
}

/// Hints on a tool's behaviour (specification, `ToolAnnotations`).
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolAnnotations {
    /// It changes nothing.
    pub read_only_hint: bool,
    /// It may destroy what was there.
    pub destructive_hint: bool,
    /// Calling it again with the same arguments changes nothing more.
    pub idempotent_hint: bool,
    /// It reaches beyond the server's own data.
    pub open_world_hint: bool,
}

/// One prompt as `prompts/list` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct PromptDescription {
    /// Unique name.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// What it takes.
    pub arguments: Vec<PromptArgument>,
}

/// One argument of a prompt.
#[derive(Debug, Clone, Serialize)]
pub struct PromptArgument {
    /// Name, unique within the prompt.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Whether there is no prompt without it.
    pub required: bool,
}

/// One resource as `resources/list` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceDescription {
    /// Its URI.
    pub uri: String,
    /// Name for programs.
    pub name: String,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Media type.
    pub mime_type: String,
    /// Size of its contents, in bytes, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// Resources of one form, as `resources/templates/list` shows them.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceTemplate {
    /// URI template (RFC 6570).
    pub uri_template: String,
    /// Name for programs.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// What they are.
    pub description: String,
    /// Media type.
    pub mime_type: String,
}
