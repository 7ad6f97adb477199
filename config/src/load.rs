//! The layers, from the bottom: defaults, file, environment, arguments.
//!
//! figment merges and extracts. It stops at the first error, so every value is first read by the rule of its key and
//! extracted alone over the defaults; only values that pass take part in the merge.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Metadata, Profile, Provider};

use crate::combinations::{self, Severity};
use crate::given::{Given, Override};
use crate::keys::KEYS;
use crate::problem::{ConfigError, Flaw, Origin, Problem};
use crate::settings::Settings;
use crate::sources::Sources;
use crate::{DEFAULT_TOML, aliases, arguments, canonical, checks, directories, environment, file};

/// Settings that passed all checks.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings. Paths are absolute or empty; the directories of the supervisor are always set.
    pub settings: Settings,
    /// What works but deserves a look.
    pub warnings: Vec<Problem>,
    /// The settings file that was used, as it was named.
    pub file: Option<PathBuf>,
    /// Where the value of each key came from.
    pub origins: BTreeMap<String, Origin>,
}

/// Loads, merges and checks the settings.
///
/// # Errors
/// [`ConfigError::Read`] if the settings file cannot be read, [`ConfigError::Invalid`] with every problem found.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let base = Figment::from(Toml::string(DEFAULT_TOML));
    let defaults: Settings = extract(&base)?;
    let file = sources.file()?;
    let mut problems = Vec::new();

    let mut from_file = match &file {
        Some((path, text)) => file::read(path, text, &mut problems),
        None => Vec::new(),
    };
    keep_sound(&base, &mut from_file, &mut problems);
    let below = first_address(&from_file, &defaults);
    let mut from_env = aliases::read(&sources.env, below, &mut problems);
    from_env.extend(environment::read(&sources.env, &mut problems));
    keep_sound(&base, &mut from_env, &mut problems);
    let mut from_args = arguments::read(&sources.set, sources.root.as_deref(), &mut problems);
    keep_sound(&base, &mut from_args, &mut problems);

    let layers = [Layer("settings file", from_file), Layer("environment", from_env), Layer("arguments", from_args)];
    let mut settings: Settings = extract(&layers.iter().fold(base, Figment::merge))?;
    let origins = origins(&layers);
    let mut warnings = no_effect_yet(&settings, &defaults, &origins);
    canonical::apply(&mut settings.server);
    directories::complete(&mut settings, sources, &mut warnings);
    judge(&settings, &origins, &mut problems, &mut warnings);
    if problems.is_empty() {
        Ok(Loaded { settings, warnings, file: file.map(|(path, _)| path), origins })
    } else {
        Err(ConfigError::Invalid(problems))
    }
}

/// One layer as figment sees it.
struct Layer(&'static str, Vec<Override>);

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.0)
    }

    fn data(&self) -> Result<figment::value::Map<Profile, Dict>, figment::Error> {
        let mut dict = Dict::new();
        for given in &self.1 {
            insert(&mut dict, given.key.path, given.given.to_figment());
        }
        Ok(Profile::Default.collect(dict))
    }
}

fn insert(dict: &mut Dict, path: &str, value: Value) {
    let Some((section, rest)) = path.split_once('.') else {
        dict.insert(path.to_owned(), value);
        return;
    };
    let inner = dict.entry(section.to_owned()).or_insert_with(|| Value::from(Dict::new()));
    if let Value::Dict(_, inner) = inner {
        insert(inner, rest, value);
    }
}

fn extract(figment: &Figment) -> Result<Settings, ConfigError> {
    figment.extract().map_err(|error| ConfigError::Defaults(Box::new(error)))
}

/// Drops every value that breaks the rule of its key or does not fit the typed settings, with a problem for each.
fn keep_sound(base: &Figment, layer: &mut Vec<Override>, problems: &mut Vec<Problem>) {
    layer.retain(|given| {
        let fits = || base.clone().merge(Layer("one value", vec![given.clone()])).extract::<Settings>().is_ok();
        let flaw = match checks::check(given.key, &given.given) {
            Err(flaw) => flaw,
            Ok(()) if fits() => return true,
            // figment's own message is left out: it repeats the value, which may be a secret.
            Ok(()) => Flaw::new("does not fit the type of this setting", "config/default.toml shows its form"),
        };
        problems.push(flaw.at(given.key.path, given.origin.clone()));
        false
    });
}

fn first_address(from_file: &[Override], defaults: &Settings) -> SocketAddr {
    let of_file = from_file.iter().find_map(|given| match &given.given {
        Given::List(items) if given.key.path == "server.listen" => items.first()?.parse().ok(),
        _ => None,
    });
    let of_defaults = || defaults.server.listen.first().copied();
    of_file.or_else(of_defaults).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn origins(layers: &[Layer]) -> BTreeMap<String, Origin> {
    let mut origins: BTreeMap<_, _> = KEYS.iter().map(|key| (key.path.to_owned(), Origin::Default)).collect();
    for given in layers.iter().flat_map(|layer| &layer.1) {
        origins.insert(given.key.path.to_owned(), given.origin.clone());
    }
    origins
}

fn no_effect_yet(settings: &Settings, defaults: &Settings, origins: &BTreeMap<String, Origin>) -> Vec<Problem> {
    let (now, shipped) = (settings.to_json(), defaults.to_json());
    let differs = |path: &str| {
        let pointer = format!("/{}", path.replace('.', "/"));
        now.pointer(&pointer) != shipped.pointer(&pointer)
    };
    let idle = KEYS.iter().filter(|key| !key.has_effect && differs(key.path));
    idle.map(|key| {
        Flaw::new("has no effect in this version", "remove it, so that nobody relies on it")
            .at(key.path, origins.get(key.path).cloned().unwrap_or(Origin::Default))
    })
    .collect()
}

/// Adds what the values are together. A finding is left out if one of its values was already wrong by itself.
fn judge(
    settings: &Settings,
    origins: &BTreeMap<String, Origin>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) {
    // After a syntax error nothing is known of the rest of the file.
    if problems.iter().any(|problem| problem.key.is_empty()) {
        return;
    }
    let wrong: BTreeSet<String> = problems.iter().map(|problem| problem.key.clone()).collect();
    for finding in combinations::check(settings) {
        if finding.keys.iter().any(|key| wrong.contains(*key)) {
            continue;
        }
        let origin_of = |key: &&str| origins.get(*key).cloned().unwrap_or(Origin::Default);
        let given = finding.keys.iter().find(|key| origin_of(key) != Origin::Default);
        let Some(key) = given.or(finding.keys.first()) else { continue };
        let problem = finding.flaw.at(*key, origin_of(key));
        match finding.severity {
            Severity::Error => problems.push(problem),
            Severity::Warning => warnings.push(problem),
        }
    }
}
