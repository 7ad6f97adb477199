//! Settings for people to see: TOML without secrets.

use crate::settings::{Secret, Settings};

const REDACTED: &str = "(redacted)";

/// The settings as TOML, in the order of `default.toml`. Tokens and keys are replaced as a whole, in connection URLs the
/// password. Paths that are not UTF-8 cannot be said in TOML; then the text says so in a comment.
pub fn render(settings: &Settings) -> String {
    toml::to_string(&redacted(settings)).unwrap_or_else(|error| format!("# cannot be shown as TOML: {error}\n"))
}

fn redacted(settings: &Settings) -> Settings {
    let mut shown = settings.clone();
    let whole = [&mut shown.admin.token];
    let lists = shown.auth.tokens.iter_mut().chain(&mut shown.auth.sealing_keys);
    for secret in whole.into_iter().chain(lists).filter(|secret| !secret.is_empty()) {
        *secret = Secret::new(REDACTED);
    }
    for url in [&mut shown.redis.url, &mut shown.store.postgres.url] {
        *url = Secret::new(without_password(url.expose()));
    }
    shown
}

/// Masks the password of the user information and of the query. When in doubt more is masked than needed: passwords
/// with unescaped `/`, `?` or `@` are common. What is no URL is masked as a whole.
fn without_password(url: &str) -> String {
    if url.is_empty() {
        return String::new();
    }
    let Some((scheme, rest)) = crate::checks::split_url(url) else { return REDACTED.to_owned() };
    let (user_info, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
    let user_info = match user_info.map(|user| user.split_once(':')) {
        None => String::new(),
        Some(Some((user, _))) => format!("{user}:{REDACTED}@"),
        // A lone name before `@` is a user by RFC 3986, yet tokens are put there, too.
        Some(None) => format!("{REDACTED}@"),
    };
    let place = match place.split_once('?') {
        None => place.to_owned(),
        Some((path, query)) => format!("{path}?{}", query.split('&').map(parameter).collect::<Vec<_>>().join("&")),
    };
    format!("{scheme}://{user_info}{place}")
}

fn parameter(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}={REDACTED}"),
        _ => pair.to_owned(),
    }
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
}
