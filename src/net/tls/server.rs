//! TLS to clients.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsStream, rustls};

use super::client::read_authorities;
use super::{TlsError, bare_socket, pem_error, provider};
use crate::net::{PacketStream, Stream};
use crate::wire::auth::sha256;

/// Who we are to clients; replaced as a whole when certificates change.
#[derive(Debug)]
pub struct ServerTls {
    identity: ArcSwap<Identity>,
}

/// A certificate and what follows from it.
#[derive(Debug)]
pub struct Identity {
    pub config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, if we made it ourselves: then clients have no authority to ask
    /// and may want another proof.
    pub self_made: Option<[u8; 32]>,
}

impl ServerTls {
    pub fn new(identity: Identity) -> Self {
        ServerTls { identity: ArcSwap::from_pointee(identity) }
    }

    /// Serves new connections with another certificate; those that exist keep theirs.
    pub fn replace(&self, identity: Identity) {
        self.identity.store(Arc::new(identity));
    }

    pub fn identity(&self) -> Arc<Identity> {
        self.identity.load_full()
    }
}

impl Identity {
    /// Makes a self-signed certificate (ECDSA on P-256).
    ///
    /// # Errors
    /// `client_authorities` cannot be read, or the system gave no key.
    pub fn self_made(client_authorities: Option<&Path>) -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "rwproxy self-signed certificate");
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress(IpAddr::from([127, 0, 0, 1])),
            SanType::IpAddress("::1".parse().expect("a literal address")),
        ];
        let certificate = params.self_signed(&key)?.der().clone();
        let fingerprint = sha256(&[&certificate]);
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| TlsError::NoKey)?;
        let config = config(vec![certificate], key, client_authorities)?;
        Ok(Identity { config, self_made: Some(fingerprint) })
    }

    /// Reads a certificate chain and its key from PEM files.
    pub fn from_files(
        certificates: &Path,
        key: &Path,
        client_authorities: Option<&Path>,
    ) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_file_iter(certificates)
            .and_then(Iterator::collect)
            .map_err(pem_error(certificates))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate(certificates.display().to_string()));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(pem_error(key))?;
        Ok(Identity { config: config(chain, key, client_authorities)?, self_made: None })
    }
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_authorities: Option<&Path>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let config = match client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(verifier(read_authorities(path)?)?),
    };
    Ok(Arc::new(config.with_single_cert(chain, key)?))
}

/// Clients need not show a certificate, but one that they show must be right.
fn verifier(roots: RootCertStore) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    Ok(builder.allow_unauthenticated().build()?)
}

/// Goes on in TLS on a stream whose client has asked for it. Not cancel safe.
///
/// The request must have been read by [`PacketStream::read_first_packet`]: the client's handshake follows it
/// without waiting.
///
/// # Errors
/// The handshake failed, or bytes are buffered already.
pub async fn accept(stream: PacketStream, config: Arc<ServerConfig>) -> io::Result<PacketStream> {
    let socket = bare_socket(stream)?;
    let tls = TlsAcceptor::from(config).accept(socket).await?;
    Ok(PacketStream::new(Stream::Tls(Box::new(TlsStream::from(tls)))))
}
