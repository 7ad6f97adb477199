//! How connections are made: what the settings say, checked and read once.

use std::{sync::Arc, time::Duration};

use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};
use rustls::ClientConfig;
use task_mcp_config::settings::{Redis as Settings, RedisTopology};

use crate::{error::RedisError, place::Place, slot::slot_of, tls};

/// How the address of the master is found.
#[derive(Debug)]
pub(crate) enum Topology {
    /// It is the first place.
    Standalone,
    /// The places are sentinels.
    Sentinel { master: String, password: Option<String> },
    /// The places are nodes of a cluster; the master is that of the slot.
    Cluster { slot: u16 },
}

/// Everything an attempt to connect needs. No `Debug`: it holds passwords.
pub(crate) struct Access {
    pub(crate) topology: Topology,
    /// The address of the URL first. Not empty.
    pub(crate) places: Vec<Place>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) connect_timeout: Duration,
    /// What the connection is called on the server (CLIENT LIST).
    pub(crate) name: &'static str,
    username: Option<String>,
    password: Option<String>,
    database: i64,
}

impl Access {
    /// # Errors
    /// The URL cannot be used, or a PEM file.
    pub(crate) fn new(settings: &Settings, name: &'static str, slot_key: &str) -> Result<Self, RedisError> {
        // The crate's own text is left out: it may repeat a part of the URL.
        let info =
            settings.url.expose().into_connection_info().map_err(|_| unusable("redis.url is not a URL of Redis"))?;
        let (place, secure) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (Place::tcp(host, *port), false),
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err(unusable(
                    "redis.url asks for no check of certificates; name the authority in redis.tls_ca",
                ));
            }
            ConnectionAddr::TcpTls { host, port, .. } => (Place::tcp(host, *port), true),
            ConnectionAddr::Unix(path) => (Some(Place::Unix(path.clone())), false),
            _ => (None, false),
        };
        let place = place.ok_or_else(|| unusable("redis.url names no address"))?;
        let several = settings.topology != RedisTopology::Standalone;
        if several && matches!(place, Place::Unix(_)) {
            return Err(unusable(
                "redis.url is a socket of this machine; sentinels and clusters are reached by addresses",
            ));
        }
        let database = info.redis_settings().db();
        if settings.topology == RedisTopology::Cluster && database != 0 {
            return Err(unusable("redis.url names a database; a cluster has only number 0"));
        }
        let mut places = vec![place];
        if several {
            for node in &settings.nodes {
                places.push(Place::parse(node).ok_or_else(|| unusable("redis.nodes holds an unusable address"))?);
            }
        }
        let topology = match settings.topology {
            RedisTopology::Standalone => Topology::Standalone,
            RedisTopology::Sentinel => Topology::Sentinel {
                master: settings.sentinel_master.clone(),
                password: Some(settings.sentinel_password.expose().to_owned()).filter(|password| !password.is_empty()),
            },
            RedisTopology::Cluster => Topology::Cluster { slot: slot_of(slot_key.as_bytes()) },
        };
        Ok(Self {
            topology,
            places,
            tls: if secure { Some(tls::client_config(settings)?) } else { None },
            connect_timeout: Duration::from_millis(settings.connect_timeout_ms),
            name,
            username: info.redis_settings().username().map(str::to_owned),
            password: info.redis_settings().password().map(str::to_owned),
            database,
        })
    }

    /// What is said to a data server first.
    pub(crate) fn introduction(&self, protocol: ProtocolVersion) -> RedisConnectionInfo {
        let mut said = RedisConnectionInfo::default()
            .set_protocol(protocol)
            .set_db(self.database)
            .set_lib_name("task-mcp", env!("CARGO_PKG_VERSION"));
        if let Some(username) = &self.username {
            said = said.set_username(username);
        }
        if let Some(password) = &self.password {
            said = said.set_password(password);
        }
        said
    }

    /// What is said to a sentinel first.
    pub(crate) fn introduction_to_sentinel(password: Option<&str>) -> RedisConnectionInfo {
        let said = RedisConnectionInfo::default().set_skip_set_lib_name();
        match password {
            Some(password) => said.set_password(password),
            None => said,
        }
    }
}

fn unusable(reason: &str) -> RedisError {
    RedisError::Settings { reason: reason.to_owned() }
}
