//! Settings for people to see: TOML without secrets.

use crate::settings::{Secret, Settings};
use crate::urls::split_url;

const REDACTED: &str = "(redacted)";

/// The settings as TOML, in the order of `default.toml`. Tokens and keys are replaced as a whole, in connection URLs the
/// password, in the names of an issuer everything that may be a credential. Paths that are not UTF-8 cannot be said in TOML; then the text says so in a comment.
pub fn render(settings: &Settings) -> String {
    toml::to_string(&redacted(settings)).unwrap_or_else(|error| format!("# cannot be shown as TOML: {error}\n"))
}

fn redacted(settings: &Settings) -> Settings {
    let mut shown = settings.clone();
    let whole = [&mut shown.admin.token, &mut shown.redis.sentinel_password];
    let lists = shown.auth.tokens.iter_mut().chain(&mut shown.auth.sealing_keys);
    for secret in whole.into_iter().chain(lists).filter(|secret| !secret.is_empty()) {
        *secret = Secret::new(REDACTED);
    }
    for url in [&mut shown.redis.url, &mut shown.store.postgres.url] {
        *url = Secret::new(without_password(url.expose()));
    }
    let jwt = &mut shown.auth.jwt;
    for name in [&mut jwt.issuer, &mut jwt.jwks_url] {
        *name = without_credentials(name);
    }
    shown
}

/// Masks user information, the values of the query and the fragment: keys of an identity provider's API are put there.
/// An issuer need not be a URL (RFC 7519, section 4.1.1); one that is none is shown unless it looks like it holds such.
fn without_credentials(name: &str) -> String {
    let Some((scheme, rest)) = split_url(name) else {
        return if name.contains(['@', '?', '#']) { REDACTED.to_owned() } else { name.to_owned() };
    };
    let (rest, fragment) =
        rest.split_once('#').map_or((rest, String::new()), |(rest, _)| (rest, format!("#{REDACTED}")));
    let (place, query) = match rest.split_once('?') {
        None => (rest, String::new()),
        Some((place, query)) => (place, format!("?{}", masked(query, |_| true))),
    };
    let (user_info, place) = place.rsplit_once('@').map_or(("", place), |(_, place)| ("(redacted)@", place));
    format!("{scheme}://{user_info}{place}{query}{fragment}")
}

/// Masks the password of the user information and of the query. When in doubt more is masked than needed: passwords
/// with unescaped `/`, `?` or `@` are common. What is no URL is masked as a whole.
fn without_password(url: &str) -> String {
    if url.is_empty() {
        return String::new();
    }
    let Some((scheme, rest)) = split_url(url) else { return REDACTED.to_owned() };
    let (user_info, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
    let user_info = match user_info.map(|user| user.split_once(':')) {
        None => String::new(),
        Some(Some((user, _))) => format!("{user}:{REDACTED}@"),
        // A lone name before `@` is a user by RFC 3986, yet tokens are put there, too.
        Some(None) => format!("{REDACTED}@"),
    };
    let place = match place.split_once('?') {
        None => place.to_owned(),
        Some((path, query)) => {
            format!("{path}?{}", masked(query, |name| name.to_ascii_lowercase().contains("pass")))
        }
    };
    format!("{scheme}://{user_info}{place}")
}

/// The query with the values of secret names masked; a lone name may be a value, so a secret one is masked itself.
fn masked(query: &str, is_secret: fn(&str) -> bool) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={REDACTED}"),
        None if is_secret(pair) && !pair.is_empty() => REDACTED.to_owned(),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_password_and_nothing_else() {
        for (url, shown) in [
            ("", ""),
            ("redis://localhost:6379/2", "redis://localhost:6379/2"),
            ("redis://:geheim@h:1/0", "redis://:(redacted)@h:1/0"),
            ("rediss://u:geheim@h", "rediss://u:(redacted)@h"),
            ("redis://u:ge/he?im@x@h/0", "redis://u:(redacted)@h/0"),
            ("redis://geheim@h", "redis://(redacted)@h"),
            ("unix:///run/r.sock?db=1&pass=geheim", "unix:///run/r.sock?db=1&pass=(redacted)"),
            (
                "postgres://u:geheim@h/d?sslmode=require&sslpassword=geheim",
                "postgres://u:(redacted)@h/d?sslmode=require&sslpassword=(redacted)",
            ),
            ("host=h password=geheim", "(redacted)"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn names_of_an_issuer_lose_what_may_be_a_credential() {
        for (name, shown) in [
            ("", ""),
            ("https://issuer.example.com/realms/a", "https://issuer.example.com/realms/a"),
            ("my-issuer", "my-issuer"),
            ("urn:issuer:1", "urn:issuer:1"),
            ("u:geheim@issuer", "(redacted)"),
            ("https://u:geheim@h/k", "https://(redacted)@h/k"),
            ("https://u:ge/heim@h/k", "https://(redacted)@h/k"),
            ("https://h/k?api_key=geheim&v=2", "https://h/k?api_key=(redacted)&v=(redacted)"),
            ("https://h/k?geheim", "https://h/k?(redacted)"),
            ("https://h/k?a=b@c#geheim", "https://h/k?a=(redacted)#(redacted)"),
            ("https://h/#geheim?x", "https://h/#(redacted)"),
        ] {
            assert_eq!(without_credentials(name), shown);
        }
    }
}
