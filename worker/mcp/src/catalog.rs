//! What the server tells of itself and what it offers. Nothing here changes while a process lives, so it is serialised once.

use serde_json::{Map, Value, json};

use crate::capabilities::TASKS_EXTENSION;
use crate::describe::{PromptDescription, ResourceTemplate, ToolDescription};
use crate::param_headers::ParamHeaders;
use crate::revision::{Era, Revision};

/// Who the server is.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// Name for programs.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// Version of the software.
    pub version: String,
    /// How a model should use the server.
    pub instructions: String,
}

/// What the server offers.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// Tools, in the order they are listed.
    pub tools: Vec<ToolDescription>,
    /// Prompts, likewise.
    pub prompts: Vec<PromptDescription>,
    /// Forms of resources, likewise.
    pub templates: Vec<ResourceTemplate>,
    /// Whether there are resources to list and read.
    pub resources: bool,
    /// Whether arguments are completed.
    pub completions: bool,
    /// Whether a tool sends log messages to its client.
    pub logging: bool,
}

/// Why a catalogue cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Two tools or two prompts share a name.
    #[error("two {what}s are named `{name}`")]
    Duplicate {
        /// `tool` or `prompt`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The input schema of a tool asks for headers it may not ask for.
    #[error("the input schema of the tool `{tool}` cannot be used: {reason}")]
    Header {
        /// The tool.
        tool: String,
        /// What is wrong.
        reason: String,
    },
    /// A description is not serialisable.
    #[error("the catalogue cannot be serialised")]
    Serialise(#[from] serde_json::Error),
}

/// How long a client may keep a list, in milliseconds: it changes with a reload only, so minutes are safe and seconds would be
/// waste.
const LIST_TTL_MS: u64 = 300_000;

/// A list that is the same for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/templates/list`.
    ResourceTemplates,
}

/// One answer in the forms of both eras.
#[derive(Debug)]
struct Told {
    legacy: String,
    modern: String,
}

/// The serialised answers that never change.
#[derive(Debug)]
pub struct Catalog {
    tools: Told,
    prompts: Told,
    templates: Told,
    pub(crate) discover: String,
    /// By [`Revision::ALL`].
    initialize: Vec<(Revision, String)>,
    /// `_meta` of every result of the modern era, with its name.
    pub(crate) meta: String,
    pub(crate) offers: Offers,
    pub(crate) param_headers: ParamHeaders,
}

/// Which methods there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offers {
    pub(crate) prompts: bool,
    pub(crate) resources: bool,
    pub(crate) completions: bool,
}

impl Catalog {
    /// Serialises what is told of `info` and `offer`.
    ///
    /// # Errors
    /// Two tools or two prompts of one name, or a tool whose arguments cannot be repeated in headers as its schema says.
    pub fn new(info: &ServerInfo, offer: &Offer) -> Result<Self, CatalogError> {
        unique("tool", offer.tools.iter().map(|tool| tool.name.as_str()))?;
        unique("prompt", offer.prompts.iter().map(|prompt| prompt.name.as_str()))?;
        let param_headers =
            ParamHeaders::of(&offer.tools).map_err(|(tool, reason)| CatalogError::Header { tool, reason })?;
        let identity = json!({ "name": info.name, "title": info.title, "version": info.version });
        let meta = json!({ "io.modelcontextprotocol/serverInfo": identity });
        let supported: Vec<&str> = Revision::ALL.iter().map(|revision| revision.name()).collect();

        let modern = |name: &str, value: Value| {
            let mut fields = Map::new();
            fields.insert("resultType".into(), "complete".into());
            fields.insert("_meta".into(), meta.clone());
            fields.insert("ttlMs".into(), LIST_TTL_MS.into());
            fields.insert("cacheScope".into(), "public".into());
            fields.insert(name.into(), value);
            fields
        };
        let list = |name: &str, value: Value| {
            let legacy = serde_json::to_string(&json!({ name: value }))?;
            Ok::<_, CatalogError>(Told { legacy, modern: serde_json::to_string(&modern(name, value))? })
        };
        let mut discover = modern("supportedVersions", json!(supported));
        discover.insert("capabilities".into(), capabilities(offer, Era::Modern));
        discover.insert("instructions".into(), json!(info.instructions));
        let handshake = |revision: Revision| {
            let answer = json!({
                "protocolVersion": revision.name(),
                "capabilities": capabilities(offer, Era::Legacy),
                "serverInfo": identity,
                "instructions": info.instructions,
            });
            serde_json::to_string(&answer).map(|answer| (revision, answer))
        };
        let legacy = Revision::ALL.into_iter().filter(|revision| revision.era() == Era::Legacy);
        Ok(Self {
            tools: list("tools", json!(offer.tools))?,
            prompts: list("prompts", json!(offer.prompts))?,
            templates: list("resourceTemplates", json!(offer.templates))?,
            discover: serde_json::to_string(&discover)?,
            initialize: legacy.map(handshake).collect::<Result<_, _>>()?,
            meta: format!("\"_meta\":{}", serde_json::to_string(&meta)?),
            offers: Offers {
                prompts: !offer.prompts.is_empty(),
                resources: offer.resources,
                completions: offer.completions,
            },
            param_headers,
        })
    }

    pub(crate) fn list(&self, list: List, era: Era) -> &str {
        let told = match list {
            List::Tools => &self.tools,
            List::Prompts => &self.prompts,
            List::ResourceTemplates => &self.templates,
        };
        match era {
            Era::Legacy => &told.legacy,
            Era::Modern => &told.modern,
        }
    }

    /// The answer to a handshake that ends with `revision`.
    pub(crate) fn initialize(&self, revision: Revision) -> &str {
        let answer = self.initialize.iter().find(|(of, _)| *of == revision).or(self.initialize.first());
        answer.map_or("{}", |(_, answer)| answer)
    }
}

fn unique<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), CatalogError> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(CatalogError::Duplicate { what, name: name.to_owned() });
        }
    }
    Ok(())
}

/// What is served is declared, and nothing else is: in 2026-07-28 logging is deprecated, and for those who log already; before, its
/// method exists whether a tool logs or not.
fn capabilities(offer: &Offer, era: Era) -> Value {
    let mut all = json!({ "tools": { "listChanged": true } });
    let Some(fields) = all.as_object_mut() else { return all };
    if offer.logging || era == Era::Legacy {
        fields.insert("logging".into(), json!({}));
    }
    if !offer.prompts.is_empty() {
        fields.insert("prompts".into(), json!({ "listChanged": true }));
    }
    if offer.resources {
        fields.insert("resources".into(), json!({ "subscribe": true, "listChanged": true }));
    }
    if offer.completions {
        fields.insert("completions".into(), json!({}));
    }
    if era == Era::Modern {
        fields.insert("extensions".into(), json!({ TASKS_EXTENSION: {} }));
    }
    all
}
