//! Checks of connection URLs. They hold passwords, so no message repeats any part of the value.

use crate::problem::Flaw;
use crate::urls::{is_authority, split_url};

/// A Redis URL: `redis://` and `rediss://` with host, port and database number, `unix://` and `redis+unix://` with the
/// path of a socket (the forms of the redis crate).
pub(crate) fn redis_url(text: &str) -> Result<(), Flaw> {
    const FORM: &str =
        "write it like redis://user:password@host:6379/0 or unix:///run/redis.sock; rediss:// is for TLS";
    let (scheme, rest) = parts(text, "redis://, rediss://, unix:// or redis+unix://", FORM)?;
    let place = Place::of(rest);
    match scheme.as_str() {
        "redis" | "rediss" => {
            if !is_authority(place.hosts) {
                return Err(unfit_host(FORM));
            }
            if rest.ends_with("#insecure") {
                const CURE: &str = "name the authority that signed the server's certificate in redis.tls_ca";
                return Err(Flaw::new("asks for no check of the server's certificate", CURE));
            }
            if !place.path.is_empty() && place.path.parse::<u32>().is_err() {
                return Err(Flaw::new("names a database that is not a number", FORM));
            }
            Ok(())
        }
        "unix" | "redis+unix" => match place {
            Place { user_info: false, hosts: "", path, .. } if !path.is_empty() => Ok(()),
            _ => Err(Flaw::new("does not name the absolute path of a socket", FORM)),
        },
        _ => Err(unfit_scheme("redis://, rediss://, unix:// or redis+unix://", FORM)),
    }
}

/// A PostgreSQL URL (libpq, "Connection URIs"): one host or several, each with or without a port; a host may be the
/// path of a socket directory in percent-encoding, or be given as the parameter `host` or `hostaddr`.
pub(crate) fn postgres_url(text: &str) -> Result<(), Flaw> {
    const FORM: &str = "write it like postgres://user:password@host:5432/database";
    let (scheme, rest) = parts(text, "postgres:// or postgresql://", FORM)?;
    if !matches!(scheme.as_str(), "postgres" | "postgresql") {
        return Err(unfit_scheme("postgres:// or postgresql://", FORM));
    }
    let place = Place::of(rest);
    let by_parameter = || {
        let mut names = place.query.split('&').filter_map(|pair| pair.split_once('='));
        names.any(|(name, value)| matches!(name, "host" | "hostaddr") && !value.is_empty())
    };
    let fits = match place.hosts {
        "" => by_parameter(),
        hosts => hosts.split(',').all(|host| is_authority(host) || is_socket(host)),
    };
    if fits { Ok(()) } else { Err(unfit_host(FORM)) }
}

/// What follows the scheme, parted as RFC 3986, section 3 says.
struct Place<'a> {
    user_info: bool,
    hosts: &'a str,
    /// Without the slash before it.
    path: &'a str,
    query: &'a str,
}

impl<'a> Place<'a> {
    fn of(rest: &'a str) -> Self {
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user_info, hosts) = authority.rsplit_once('@').map_or((false, authority), |(_, hosts)| (true, hosts));
        Self { user_info, hosts, path, query }
    }
}

/// The scheme in lower case and the rest.
fn parts<'a>(text: &'a str, schemes: &str, form: &'static str) -> Result<(String, &'a str), Flaw> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Flaw::new(
            "holds white space or a control character",
            "remove it, or write it as %20 and the like",
        ));
    }
    let (scheme, rest) = split_url(text).ok_or_else(|| unfit_scheme(schemes, form))?;
    Ok((scheme.to_ascii_lowercase(), rest))
}

fn unfit_scheme(schemes: &str, form: &'static str) -> Flaw {
    Flaw::new(format!("does not begin with {schemes}"), form)
}

fn unfit_host(form: &str) -> Flaw {
    let remedy = format!("{form}; in a password write / ? # @ as %2F %3F %23 %40");
    Flaw::new("has no sound host and port after the scheme", remedy)
}

/// `%2Frun%2Fpostgresql`, with or without a port.
fn is_socket(host: &str) -> bool {
    let (path, port) = host.split_once(':').map_or((host, None), |(path, port)| (path, Some(port)));
    let absolute = path.get(..3).is_some_and(|slash| slash.eq_ignore_ascii_case("%2f"));
    absolute && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Check;
    use crate::testing::{fails, passes};

    #[test]
    fn redis_urls() {
        passes(
            redis_url,
            &[
                "redis://h",
                "REDIS://h:6379/",
                "rediss://u:p%2Fw@h.example:6380/15?protocol=resp3",
                "redis://:a@b@[::1]:1/0",
                "unix:///run/r.sock?db=1&pass=x",
                "redis+unix:///run/r.sock",
            ],
        );
        fails(
            redis_url,
            &[
                "h:6379",
                "http://h",
                "redis:h",
                "redis://",
                "redis:///0",
                "redis://h:0",
                "rediss://h/#insecure",
                "redis://h:65536",
                "redis://h/zero",
                "redis://u:p/w@h",
                "redis://h\n",
                "redis://a,b",
                "unix://run/r.sock",
                "unix:///",
                "postgres://h/0",
            ],
        );
    }

    #[test]
    fn postgres_urls() {
        passes(
            postgres_url,
            &[
                "postgres://h",
                "PostgreSQL://u:p@h:5432/d?sslmode=require",
                "postgres://h1:1,[::1]:2,h3/d",
                "postgresql://u@%2Frun%2Fpostgresql/d",
                "postgres:///d?host=/run/postgresql",
            ],
        );
        fails(
            postgres_url,
            &[
                "host=h password=p",
                "postgres://",
                "postgres:///d",
                "postgres:///d?host=",
                "postgres://h:port/d",
                "postgres://h,,i/d",
                "postgres://u:p?w@h/d",
                "mysql://h/d",
                "postgres://h /d",
            ],
        );
    }

    #[test]
    fn no_part_of_the_value_is_repeated() {
        for check in [redis_url as Check, postgres_url] {
            for value in [
                "geheim",
                "geheim://h",
                "redis://u:geheim/@h",
                "redis://h/geheim",
                "redis://geheim geheim@h",
                "unix://geheim@/run/r.sock",
                "postgres://u:geheim#@h",
            ] {
                if let Err(flaw) = check(value) {
                    assert!(!format!("{flaw:?}").contains("geheim"), "{flaw:?}");
                }
            }
        }
    }
}
