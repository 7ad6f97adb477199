//! Arguments as a value, read more strictly than JSON has to be.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads the JSON text of a call's arguments. A repeated key is an error: a filter in front of this server may have looked at the
/// other one. A number without a fraction becomes an integer, as JSON Schema has it (2020-12, section 6.1.1 of the validation
/// specification), so that what passes the schema also passes the types behind it.
///
/// # Errors
/// The text is not JSON, holds a number or a character that cannot be represented, or repeats a key.
pub(crate) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Builds a value; the seed of each of its parts, too.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        /// Up to here every whole number has a floating point form of its own.
        const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
        if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
            return Ok(Value::from(value as i64));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if fields.contains_key(&key) {
                let shown: String = key.chars().take(64).collect();
                return Err(A::Error::custom(format_args!("the key `{shown}` is repeated")));
            }
            fields.insert(key, map.next_value_seed(Self)?);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_json_leaves_open_is_decided() {
        assert_eq!(
            parse(r#"{"a":[1,1.0,-2e0,1.5,1e300,"x",null,true]}"#).unwrap(),
            json!({
                "a": [1, 1, -2, 1.5, 1e300, "x", null, true]
            })
        );
        for (text, part) in [
            (r#"{"a":1,"b":{"c":1,"c":2}}"#, "`c` is repeated"),
            (r#"{"a":1,"\u0061":2}"#, "`a` is repeated"),
            (r#"{"a":1e400}"#, "out of range"),
            (r#"{"a":"\ud800"}"#, "hex escape"),
            (r#"{"a":1} {}"#, "trailing"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_what_serde_json_reads(text in r#"[\[\]{}":,0-9a-c.eE+\-\\u ]{0,40}"#) {
            if let Ok(strict) = parse(&text) {
                let plain: Value = serde_json::from_str(&text).unwrap();
                proptest::prop_assert_eq!(parse(&plain.to_string()).unwrap(), strict);
            }
        }
    }
}
