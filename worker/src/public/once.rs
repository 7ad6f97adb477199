//! The idempotency key of a request: from the header `Idempotency-Key`, which all dialects have, or from `_meta`.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};
use task_mcp_mcp::{IDEMPOTENCY_KEY, code};
use task_mcp_tools::IdempotencyKey;

use crate::public::refusal::{Refusal, single};

pub(crate) const HEADER: &str = "idempotency-key";

/// Says that a call was not run, because an earlier one with its idempotency key was.
pub(crate) const REPLAYED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"));

/// What a batch under the header is told: one key is one write's.
pub(crate) fn not_of_a_batch() -> Refusal {
    let text = "the header Idempotency-Key is one request's, and this is a batch";
    Refusal::new(400, "INVALID_IDEMPOTENCY_KEY", text)
        .with_hint(format!("name a key of its own in params._meta[\"{IDEMPOTENCY_KEY}\"] of each write"))
}

/// The key of a request; `in_meta` is what its `_meta` says.
///
/// # Errors
/// 400 for what is no key, for a repeated header, and if header and `_meta` differ.
pub(crate) fn idempotency_key(request: &HttpRequest, in_meta: Option<&str>) -> Result<Option<IdempotencyKey>, Refusal> {
    let told_in = |place: String, rpc_code| {
        move |error: task_mcp_tools::NoKey| {
            Refusal::new(400, "INVALID_IDEMPOTENCY_KEY", format!("{place}: {error}"))
                .with_hint("send a new random key, such as a UUID, for every new write")
                .with_rpc_code(rpc_code)
        }
    };
    let header = single(request, HEADER)?
        .map(|value| IdempotencyKey::of_header(value.to_str().unwrap_or_default()))
        .transpose()
        .map_err(told_in("the header Idempotency-Key".to_owned(), code::INVALID_REQUEST))?;
    let meta = in_meta
        .map(IdempotencyKey::parse)
        .transpose()
        .map_err(told_in(format!("the field params._meta[\"{IDEMPOTENCY_KEY}\"]"), code::INVALID_PARAMS))?;
    match (header, meta) {
        (Some(header), Some(meta)) if header != meta => {
            let text = format!("the header Idempotency-Key and params._meta[\"{IDEMPOTENCY_KEY}\"] are different keys");
            Err(Refusal::new(400, "INVALID_IDEMPOTENCY_KEY", text)
                .with_hint("send the key once, or the same in both")
                .with_rpc_code(code::HEADER_MISMATCH))
        }
        (header, meta) => Ok(header.or(meta)),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_key_comes_in_either_place_and_never_as_two() {
        let key = |header: &[&str], meta: Option<&str>| {
            let request =
                header.iter().fold(TestRequest::default(), |request, value| request.append_header((HEADER, *value)));
            idempotency_key(&request.to_http_request(), meta).map_err(|refusal| format!("{refusal:?}"))
        };
        let abc = || Ok(IdempotencyKey::parse("abc").ok());
        assert_eq!(key(&[], None), Ok(None));
        assert_eq!(key(&["\"abc\""], None), abc());
        assert_eq!(key(&[], Some("abc")), abc());
        assert_eq!(key(&["abc"], Some("abc")), abc());
        let quoted_in_meta = key(&[], Some("\"abc\"")).unwrap().unwrap();
        assert_ne!(Ok(Some(quoted_in_meta)), abc(), "JSON has quotes of its own");
        for (header, meta) in [
            (&["abc"][..], Some("abd")),
            (&["abc", "abc"], None),
            (&["a c"], None),
            (&[""], None),
            (&[], Some("")),
            (&[], Some("a\nb")),
        ] {
            assert!(key(header, meta).is_err(), "{header:?} {meta:?}");
        }
    }
}
