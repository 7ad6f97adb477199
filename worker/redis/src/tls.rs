//! TLS towards the servers, from PEM files.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::error::RedisError;

/// The TLS settings of `[redis]`, read once: a file that changed counts with the next start of the process.
///
/// # Errors
/// A file is missing or not what it should be; the system has no authorities and no own one is named.
pub(crate) fn client_config(settings: &task_mcp_config::settings::Redis) -> Result<Arc<ClientConfig>, RedisError> {
    // Fails if some other part of the process chose a provider already, which is the same one.
    _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authorities = ClientConfig::builder().with_root_certificates(authorities(&settings.tls_ca)?);
    let config = if settings.tls_cert.as_os_str().is_empty() {
        authorities.with_no_client_auth()
    } else {
        let chain = certificates("redis.tls_cert", &settings.tls_cert)?;
        let key = PrivateKeyDer::from_pem_file(&settings.tls_key)
            .map_err(|error| unusable("redis.tls_key", &settings.tls_key, &error.to_string()))?;
        authorities
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable("redis.tls_cert", &settings.tls_cert, &error.to_string()))?
    };
    Ok(Arc::new(config))
}

fn authorities(ca: &Path) -> Result<RootCertStore, RedisError> {
    let mut store = RootCertStore::empty();
    if ca.as_os_str().is_empty() {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            let reason = "this system has no certificate authorities; name one in redis.tls_ca".to_owned();
            return Err(RedisError::Settings { reason });
        }
    } else {
        for certificate in certificates("redis.tls_ca", ca)? {
            store.add(certificate).map_err(|error| unusable("redis.tls_ca", ca, &error.to_string()))?;
        }
    }
    Ok(store)
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, RedisError> {
    let all = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(key, path, &error.to_string()))?;
    if all.is_empty() { Err(unusable(key, path, "it holds no certificate")) } else { Ok(all) }
}

fn unusable(key: &str, path: &Path, reason: &str) -> RedisError {
    RedisError::Settings { reason: format!("{key}: {}: {reason}", path.display()) }
}
