//! The tools of a process by name.

use std::collections::HashMap;
use std::sync::Arc;

use jsonschema::Validator;
use task_mcp_cache::Tag;
use task_mcp_mcp::{Offer, ToolDescription};

use crate::error::code;
use crate::methods::methods;
use crate::offers::{Completer, Prompt, Resources};
use crate::slots::Slots;
use crate::tool::Tool;

/// Why tools cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Two tools share a name.
    #[error("two tools are named `{0}`")]
    Duplicate(String),
    /// A schema is no schema.
    #[error("the input schema of the tool `{tool}` is not valid JSON Schema: {reason}")]
    Schema {
        /// The tool.
        tool: String,
        /// What the compiler says.
        reason: String,
    },
}

/// One registered tool, with what it says of itself once and for all.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) tool: Arc<dyn Tool>,
    pub(crate) input: Validator,
    pub(crate) read_only: bool,
    pub(crate) scopes: &'static [&'static str],
    pub(crate) version: u32,
    /// Whether it is a tool; else it is a method of the protocol.
    pub(crate) is_listed: bool,
    /// Its calls that run.
    pub(crate) slots: Slots,
    /// Its place in the order of registration; metrics are bound by it.
    pub(crate) index: usize,
}

/// The tools of a process, in the order they are listed.
pub struct Registry {
    entries: HashMap<String, Arc<Entry>>,
    /// Of all entries in their order; the tools come first.
    all: Vec<ToolDescription>,
    /// How many of them are tools.
    listed: usize,
    codes: Vec<&'static str>,
    prompts: Vec<Arc<dyn Prompt>>,
    resources: Vec<Arc<dyn Resources>>,
    has_completions: bool,
    logs: bool,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Registry {
    /// Registers `tools`, and the methods over prompts, resources and completions, compiling their schemas.
    ///
    /// # Errors
    /// Two tools of one name, or a schema that is none.
    pub fn new(
        tools: Vec<Arc<dyn Tool>>,
        prompts: Vec<Arc<dyn Prompt>>,
        resources: Vec<Arc<dyn Resources>>,
        completions: &[Arc<dyn Completer>],
    ) -> Result<Self, RegistryError> {
        let codes = all_codes(tools.iter().map(|tool| tool.error_codes()));
        let listed = tools.len();
        let methods = methods(&prompts, &resources, completions);
        let entries = HashMap::with_capacity(listed + methods.len());
        let has_completions = !completions.is_empty();
        let logs = tools.iter().any(|tool| tool.logs());
        let mut registry = Self { entries, all: Vec::new(), listed, codes, prompts, resources, has_completions, logs };
        for (index, tool) in tools.into_iter().chain(methods).enumerate() {
            let description = tool.describe();
            let name = description.name.clone();
            let input = jsonschema::validator_for(&description.input_schema)
                .map_err(|error| RegistryError::Schema { tool: name.clone(), reason: error.to_string() })?;
            let read_only = description.annotations.read_only_hint;
            registry.all.push(description);
            let entry = Entry {
                name: name.clone(),
                input,
                read_only,
                scopes: tool.scopes(),
                version: tool.version(),
                is_listed: index < listed,
                slots: Slots::default(),
                index,
                tool,
            };
            if registry.entries.insert(name.clone(), Arc::new(entry)).is_some() {
                return Err(RegistryError::Duplicate(name));
            }
        }
        Ok(registry)
    }

    /// The same for a server that offers tools alone.
    ///
    /// # Errors
    /// As [`Registry::new`].
    pub fn of_tools(tools: Vec<Arc<dyn Tool>>) -> Result<Self, RegistryError> {
        Self::new(tools, Vec::new(), Vec::new(), &[])
    }

    /// What `tools/list` shows, in order.
    pub fn descriptions(&self) -> &[ToolDescription] {
        self.all.get(..self.listed).unwrap_or_default()
    }

    /// What the server offers: tools, prompts, resources, completions.
    pub fn offer(&self) -> Offer {
        Offer {
            tools: self.descriptions().to_vec(),
            prompts: self.prompts.iter().map(|prompt| prompt.describe()).collect(),
            templates: self.resources.iter().flat_map(|provider| provider.templates()).collect(),
            resources: !self.resources.is_empty(),
            completions: self.has_completions,
            logging: self.logs,
        }
    }

    /// What the contents of the resource of that URI depend on; nothing if it is no resource of this server.
    pub fn tags_of(&self, uri: &str) -> Vec<Tag> {
        let owners = self.resources.iter().filter(|provider| provider.owns(uri));
        owners.flat_map(|provider| provider.tags(uri)).collect()
    }

    /// Whether the URI may be one of a resource of this server.
    pub fn owns(&self, uri: &str) -> bool {
        self.resources.iter().any(|provider| provider.owns(uri))
    }

    /// What the list of resources depends on.
    pub fn list_tags(&self) -> Vec<Tag> {
        self.resources.iter().flat_map(|provider| provider.list_tags()).collect()
    }

    /// Tools and methods, in order.
    pub(crate) fn all(&self) -> &[ToolDescription] {
        &self.all
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.descriptions().iter().map(|description| description.name.as_str())
    }

    /// Every code an error of these tools may carry, without repetition.
    pub fn error_codes(&self) -> &[&'static str] {
        &self.codes
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        self.entries.get(name)
    }
}

/// The executor's own codes and those of the tools, without repetition, in order of appearance.
pub(crate) fn all_codes<'a>(of_tools: impl Iterator<Item = &'a [&'static str]>) -> Vec<&'static str> {
    let mut codes = code::ALL.to_vec();
    for code in of_tools.flatten() {
        if !codes.contains(code) {
            codes.push(code);
        }
    }
    codes
}
