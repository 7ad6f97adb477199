//! Where a server may be, and the bytes to and from it.

use std::{fmt, path::PathBuf, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

use crate::error::ConnectError;

/// An address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A name or address (IPv6 without brackets), and a port.
    Tcp { host: String, port: u16 },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Place {
    /// Reads `host:port`; an IPv6 address stands in brackets.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Self::tcp(host, port.parse().ok()?)
    }

    /// A host, with or without brackets, and a port. None if either is empty.
    pub(crate) fn tcp(host: &str, port: u16) -> Option<Self> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty() && port != 0).then(|| Self::Tcp { host: host.to_owned(), port })
    }

    /// Connects, with TLS if `tls` is given; the certificate must be for the host.
    pub(crate) async fn reach(&self, tls: Option<&Arc<ClientConfig>>) -> Result<BoxedStream, ConnectError> {
        match (self, tls) {
            (Self::Unix(path), _) => {
                let stream = UnixStream::connect(path).await.map_err(|source| self.out_of_reach(source))?;
                Ok(Box::new(stream))
            }
            (Self::Tcp { host, port }, None) => Ok(Box::new(self.tcp_stream(host, *port).await?)),
            (Self::Tcp { host, port }, Some(config)) => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|source| ConnectError::ServerName { place: self.to_string(), source })?;
                let stream = self.tcp_stream(host, *port).await?;
                let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
                Ok(Box::new(stream.map_err(|source| ConnectError::Tls { place: self.to_string(), source })?))
            }
        }
    }

    async fn tcp_stream(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let stream = TcpStream::connect((host, port)).await.map_err(|source| self.out_of_reach(source))?;
        stream.set_nodelay(true).map_err(|source| self.out_of_reach(source))?;
        Ok(stream)
    }

    fn out_of_reach(&self, source: std::io::Error) -> ConnectError {
        ConnectError::Reach { place: self.to_string(), source }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A connection's bytes, whatever carries them.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for S {}

/// One of them.
pub(crate) type BoxedStream = Box<dyn ByteStream>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written_alike() {
        for text in ["h:1", "10.0.0.1:6379", "[::1]:26379"] {
            assert_eq!(Place::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "h", ":1", "h:", "h:0", "h:65536", "[]:1"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }
}
