//! Origins and hosts in the one form that clients send (RFC 6454, section 6.2): lower case, no port that is the scheme's
//! own. Otherwise `https://IDE.example.com:443` would be accepted here and never match a request.

use crate::settings::Server;

/// Brings the names of the public endpoint into that form.
pub(crate) fn apply(server: &mut Server) {
    for url in server.allowed_origins.iter_mut().chain([&mut server.public_url]) {
        url.make_ascii_lowercase();
        let own_port = match url.split_once("://") {
            Some(("http", _)) => ":80",
            Some(("https", _)) => ":443",
            _ => continue,
        };
        if let Some(shorter) = url.strip_suffix(own_port) {
            *url = shorter.to_owned();
        }
    }
    server.allowed_hosts.iter_mut().for_each(|host| host.make_ascii_lowercase());
}
