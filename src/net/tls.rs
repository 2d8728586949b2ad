//! TLS below the MySQL protocol: both sides say in clear that they want it, and the next byte is
//! TLS.

pub mod client;
pub mod server;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use tokio_rustls::rustls;

use super::{PacketStream, Stream};
use crate::net::stream::Socket;

/// Why a certificate, a key or a configuration made of them is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{what}: {source}")]
    Pem { what: String, source: rustls::pki_types::pem::Error },
    #[error("{0} holds no certificate")]
    NoCertificate(String),
    #[error("the system gave no key")]
    NoKey,
    #[error("making a certificate: {0}")]
    Making(#[from] rcgen::Error),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    #[error("certificate authority: {0}")]
    Authority(#[from] rustls::client::VerifierBuilderError),
}

/// The one provider of cryptography of the product.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The socket below a stream that is about to become TLS.
///
/// # Errors
/// Bytes are buffered that came before the TLS handshake: taken as part of the encrypted session
/// they would be an attacker's.
fn bare_socket(stream: PacketStream) -> io::Result<Socket> {
    match stream.into_stream() {
        Some(Stream::Plain(socket)) => Ok(socket),
        Some(Stream::Tls(_) | Stream::Compressed(_)) => {
            Err(io::Error::other("TLS inside TLS or compression"))
        }
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "unencrypted bytes between the request for TLS and its handshake",
        )),
    }
}

fn pem_error(path: &Path) -> impl FnOnce(rustls::pki_types::pem::Error) -> TlsError {
    move |source| TlsError::Pem { what: path.display().to_string(), source }
}
