//! What a server offers besides tools: prompts, resources and completions.

use std::collections::BTreeMap;
use std::sync::Arc;

use task_mcp_cache::Tag;
use task_mcp_mcp::{Content, PromptDescription, ResourceContents, ResourceDescription, ResourceTemplate};

use crate::call::Call;
use crate::stop::Stop;
use crate::tool::{BoxFuture, CachePolicy, Tool};

/// What is offered beside the built-in things. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Additions {
    /// Tools.
    pub tools: Vec<Arc<dyn Tool>>,
    /// Prompts.
    pub prompts: Vec<Arc<dyn Prompt>>,
    /// Resources.
    pub resources: Vec<Arc<dyn Resources>>,
    /// Completions.
    pub completions: Vec<Arc<dyn Completer>>,
}

/// A prompt: messages made of arguments, for a model to go on from (specification 2026-07-28, "Prompts").
pub trait Prompt: Send + Sync + 'static {
    /// What `prompts/list` shows.
    fn describe(&self) -> PromptDescription;

    /// The messages. Required arguments are there, and none is there that the description does not name.
    fn get<'a>(
        &'a self,
        call: &'a Call,
        arguments: BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Vec<PromptMessage>, Stop>>;
}

/// One message of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptMessage {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: Content,
}

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The user.
    User,
    /// The model.
    Assistant,
}

/// Resources of some kind (specification 2026-07-28, "Resources").
pub trait Resources: Send + Sync + 'static {
    /// The forms of their URIs.
    fn templates(&self) -> Vec<ResourceTemplate>;

    /// A page of those that can be listed, from a cursor of the page before.
    fn list<'a>(&'a self, call: &'a Call, cursor: Option<&'a str>) -> BoxFuture<'a, Result<ResourcePage, Stop>>;

    /// What is in the resource of that URI; `None` if there is no such one here.
    fn read<'a>(&'a self, call: &'a Call, uri: &'a str) -> BoxFuture<'a, Result<Option<Vec<ResourceContents>>, Stop>>;

    /// Whether the URI may be one of these, whether it exists or not.
    fn owns(&self, uri: &str) -> bool;

    /// What the contents under that URI depend on. Whoever subscribes to it hears of it when one of them is bumped.
    fn tags(&self, uri: &str) -> Vec<Tag> {
        let _ = uri;
        Vec::new()
    }

    /// What the list depends on, likewise.
    fn list_tags(&self) -> Vec<Tag> {
        Vec::new()
    }

    /// Whether contents are kept.
    fn cache(&self) -> CachePolicy {
        CachePolicy::Off
    }
}

/// Some resources, and where the next ones begin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourcePage {
    /// The resources.
    pub resources: Vec<ResourceDescription>,
    /// A cursor, unless these were the last ones.
    pub next: Option<String>,
}

/// Completes arguments of prompts and of resource templates (specification 2026-07-28, "Completion").
pub trait Completer: Send + Sync + 'static {
    /// Values that begin like what is typed; `None` if it knows nothing of the argument.
    fn complete<'a>(&'a self, call: &'a Call, typed: &'a Typed) -> BoxFuture<'a, Result<Option<Completion>, Stop>>;
}

/// An argument while it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// What it is an argument of.
    pub of: Reference,
    /// Its name.
    pub argument: String,
    /// What stands there so far.
    pub value: String,
    /// Arguments that have a value already.
    pub others: BTreeMap<String, String>,
}

/// What an argument belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The prompt of that name.
    Prompt(String),
    /// The resource template of that URI or URI template.
    Resource(String),
}

/// How an argument may go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completion {
    /// Values; the first hundred are told.
    pub values: Vec<String>,
    /// How many there are in all, if it is known.
    pub total: Option<usize>,
}
