//! `Mcp-Param-*`: arguments of a tool that its clients repeat in headers.
//!
//! Source: specification 2026-07-28, "Streamable HTTP", custom headers from tool parameters.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::describe::ToolDescription;
use crate::error::{RpcError, shown};
use crate::headers::{RequestHeaders, decoded};

/// The keyword of a property's schema that asks for a header, and what the names of such headers begin with.
const KEYWORD: &str = "x-mcp-header";
const PREFIX: &str = "Mcp-Param-";
/// Integers that every language can compare lie within this, both ways: 2^53 - 1.
const SAFE_MAX: i64 = (1 << 53) - 1;

/// Keywords whose value is data, in which a schema's keyword means nothing.
const DATA: [&str; 4] = ["const", "enum", "default", "examples"];
/// Keywords whose value holds schemas by names of its own.
const MAPS: [&str; 4] = ["$defs", "definitions", "patternProperties", "dependentSchemas"];

/// One argument that is repeated in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ParamHeader {
    /// The header's name, as the tool spells it.
    name: String,
    /// Where the argument stands: the properties that lead to it.
    path: Vec<String>,
}

/// The headers of all tools that have such.
#[derive(Debug, Default)]
pub(crate) struct ParamHeaders(HashMap<String, Vec<ParamHeader>>);

impl ParamHeaders {
    /// Those that the input schemas ask for.
    ///
    /// # Errors
    /// A tool's name, and why its schema may not ask for what it asks: clients would leave such a tool out of their lists.
    pub(crate) fn of(tools: &[ToolDescription]) -> Result<Self, (String, String)> {
        let mut all = HashMap::new();
        for tool in tools {
            let mut found = Vec::new();
            walk(&tool.input_schema, Some(&mut Vec::new()), &mut found).map_err(|why| (tool.name.clone(), why))?;
            if !found.is_empty() {
                all.insert(tool.name.clone(), found);
            }
        }
        Ok(Self(all))
    }

    /// Checks that the headers of a call say what its arguments say. Arguments that are no JSON are for the executor to refuse.
    ///
    /// # Errors
    /// -32020 if one is missing, is there without an argument, cannot be read or says something else.
    pub(crate) fn check(&self, tool: &str, arguments: &str, headers: &RequestHeaders<'_>) -> Result<(), RpcError> {
        let Some(expected) = self.0.get(tool) else { return Ok(()) };
        let Ok(arguments) = serde_json::from_str::<Value>(arguments) else { return Ok(()) };
        expected.iter().try_for_each(|header| header.check(&arguments, &headers.params))
    }
}

impl ParamHeader {
    fn check(&self, arguments: &Value, headers: &[(&str, &[u8])]) -> Result<(), RpcError> {
        let name = &self.name;
        let mismatch =
            |what: &str| Err(RpcError::header_mismatch(format!("Header mismatch: the header {name} {what}")));
        let mut value = Some(arguments);
        for step in &self.path {
            value = value.and_then(|value| value.get(step));
        }
        let mut named = headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        let given = (named.next(), named.next());
        let (given, value) = match (given, value.filter(|value| !value.is_null())) {
            ((None, _), None) => return Ok(()),
            // What is no text, number or truth has no form in a header; the schema lets it pass nowhere.
            ((None, _), Some(Value::Array(_) | Value::Object(_))) => return Ok(()),
            ((None, _), Some(_)) => return mismatch(&format!("is missing: {}", self.must_be())),
            ((_, Some(_)), _) => return mismatch("may be sent only once"),
            ((Some(_), None), None) => return mismatch("is there without the argument that it repeats"),
            ((Some((_, given)), None), Some(value)) => (given, value),
        };
        let Some(text) = std::str::from_utf8(given).ok().and_then(decoded) else {
            return mismatch("has characters that no header may have, or is not valid Base64 of UTF-8 text");
        };
        match says(&text, value) {
            true => Ok(()),
            false => mismatch(&format!("says '{}' and not what the argument says: {}", shown(&text), self.must_be())),
        }
    }

    fn must_be(&self) -> String {
        format!("it must repeat the argument `{}`", self.path.join("."))
    }
}

/// Whether a header says what an argument says.
fn says(text: &str, value: &Value) -> bool {
    match value {
        Value::String(value) => value == text,
        Value::Bool(value) => text == if *value { "true" } else { "false" },
        Value::Number(number) => integer(text).is_some_and(|said| integer(&number.to_string()) == Some(said)),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// The integer that a text stands for, however it is written: 42, 42.0 and 4.2e1 are one.
fn integer(text: &str) -> Option<i64> {
    // The forms of JSON alone: no signs in front, no blanks, no words.
    let number: serde_json::Number = text.parse().ok()?;
    let integer = number.as_i64().or_else(|| {
        let number = number.as_f64()?;
        #[allow(clippy::cast_possible_truncation, reason = "it was found to be whole and small enough")]
        (number.fract() == 0.0 && number.abs() <= SAFE_MAX as f64).then_some(number as i64)
    })?;
    (-SAFE_MAX..=SAFE_MAX).contains(&integer).then_some(integer)
}

/// Collects what a schema asks for. `path` leads to it from the root by properties alone; without one it lies where no argument can be
/// found by its place.
fn walk(schema: &Value, mut path: Option<&mut Vec<String>>, found: &mut Vec<ParamHeader>) -> Result<(), String> {
    let fields = match schema {
        Value::Object(fields) => fields,
        Value::Array(schemas) => return schemas.iter().try_for_each(|schema| walk(schema, None, found)),
        _ => return Ok(()),
    };
    if let Some(asked) = fields.get(KEYWORD) {
        let Some(path) = path.as_deref().filter(|path| !path.is_empty()) else {
            return Err(format!("`{KEYWORD}` stands where no chain of `properties` leads"));
        };
        let header = param_header(asked, fields, path)?;
        if found.iter().any(|other| other.name.eq_ignore_ascii_case(&header.name)) {
            return Err(format!("two arguments ask for the header {}", header.name));
        }
        found.push(header);
    }
    for (keyword, value) in fields {
        match value {
            Value::Object(properties) if keyword == "properties" => {
                for (name, schema) in properties {
                    match path.as_deref_mut() {
                        Some(path) => {
                            path.push(name.clone());
                            walk(schema, Some(path), found)?;
                            path.pop();
                        }
                        None => walk(schema, None, found)?,
                    }
                }
            }
            Value::Object(named) if MAPS.contains(&keyword.as_str()) => {
                named.values().try_for_each(|schema| walk(schema, None, found))?;
            }
            _ if DATA.contains(&keyword.as_str()) => {}
            _ => walk(value, None, found)?,
        }
    }
    Ok(())
}

fn param_header(asked: &Value, schema: &Map<String, Value>, path: &[String]) -> Result<ParamHeader, String> {
    let argument = path.join(".");
    let name = asked.as_str().filter(|name| !name.is_empty() && name.bytes().all(is_token));
    let Some(name) = name else {
        return Err(format!("`{KEYWORD}` of the argument `{argument}` is no name of a header (RFC 9110, token)"));
    };
    let primitive = |word: &str| ["string", "integer", "boolean"].contains(&word);
    let is_primitive = match schema.get("type") {
        Some(Value::String(word)) => primitive(word),
        // One of them that may be left out as null.
        Some(Value::Array(words)) => {
            let others: Vec<_> = words.iter().filter_map(Value::as_str).filter(|word| *word != "null").collect();
            matches!(others.as_slice(), [word] if primitive(word)) && others.len() + 1 >= words.len()
        }
        _ => false,
    };
    if !is_primitive {
        return Err(format!(
            "`{KEYWORD}` needs an argument of type string, integer or boolean, which `{argument}` is not"
        ));
    }
    Ok(ParamHeader { name: format!("{PREFIX}{name}"), path: path.to_vec() })
}

/// A character of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
