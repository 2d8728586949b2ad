//! TLS to servers.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_rustls::{TlsConnector, TlsStream, rustls};

use super::{TlsError, bare_socket, pem_error, provider};
use crate::net::{PacketStream, Stream};

/// Whether connections to servers are encrypted, and whom they trust.
#[derive(Debug, Clone, Default)]
pub enum ClientTls {
    #[default]
    Disabled,
    /// Encrypted where the server can, without asking who it is.
    Preferred(Arc<ClientConfig>),
    /// Encrypted or not at all; what the certificate must prove is in the configuration.
    Required(Arc<ClientConfig>),
}

/// What a server's certificate must prove beyond that the server holds its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// That one of the authorities vouches for it.
    Authority,
    /// That, and that it is made out to the host (name or IP address) that was dialled.
    Identity,
}

impl ClientTls {
    pub fn preferred() -> Result<Self, TlsError> {
        unverified().map(ClientTls::Preferred)
    }

    /// Encrypted, whoever the server is.
    pub fn required() -> Result<Self, TlsError> {
        unverified().map(ClientTls::Required)
    }

    /// Encrypted, and with proof before an authority of this PEM file.
    pub fn verified(proof: Proof, authorities: &Path) -> Result<Self, TlsError> {
        let roots = Arc::new(read_authorities(authorities)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build()?;
        let config = match proof {
            Proof::Authority => config(Arc::new(AuthorityVerifier(verifier))),
            Proof::Identity => config(verifier),
        };
        config.map(ClientTls::Required)
    }
}

fn unverified() -> Result<Arc<ClientConfig>, TlsError> {
    config(Arc::new(PossessionVerifier(provider().signature_verification_algorithms)))
}

fn config(verifier: Arc<dyn ServerCertVerifier>) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Reads the certificates of a PEM file as authorities.
pub(super) fn read_authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(pem_error(path))? {
        roots.add(certificate.map_err(pem_error(path))?)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoCertificate(path.display().to_string()));
    }
    Ok(roots)
}

/// Goes on in TLS on a stream whose SSLRequest has been sent. Not cancel safe.
///
/// # Errors
/// The handshake failed, or the server had sent bytes ahead of it.
pub async fn upgrade(
    stream: PacketStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> io::Result<PacketStream> {
    let socket = bare_socket(stream)?;
    let tls = TlsConnector::from(config).connect(name, socket).await?;
    Ok(PacketStream::new(Stream::Tls(Box::new(TlsStream::from(tls)))))
}

/// Accepts every certificate, but checks that the server holds its key.
///
/// The chain is not looked at, so certificates that rustls would not read serve too: MariaDB 11.4
/// makes itself one of X.509 version 1.
#[derive(Debug)]
struct PossessionVerifier(WebPkiSupportedAlgorithms);

impl PossessionVerifier {
    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = PublicKey::of(certificate)
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let candidates =
            self.0.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme).flat_map(|m| m.1);
        for algorithm in candidates {
            if algorithm.public_key_alg_id().as_ref() == key.algorithm
                && algorithm.verify_signature(key.bits, message, signed.signature()).is_ok()
            {
                return Ok(HandshakeSignatureValid::assertion());
            }
        }
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

impl ServerCertVerifier for PossessionVerifier {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// The usual verification, except that the name need not fit.
#[derive(Debug)]
struct AuthorityVerifier(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AuthorityVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.0.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verdict {
            // The name is looked at last: all else was right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The key of a certificate, of any X.509 version.
#[derive(Debug, PartialEq, Eq)]
struct PublicKey<'a> {
    /// Content of the AlgorithmIdentifier.
    algorithm: &'a [u8],
    bits: &'a [u8],
}

impl<'a> PublicKey<'a> {
    /// Walks to `tbsCertificate.subjectPublicKeyInfo` (RFC 5280, section 4.1).
    fn of(certificate: &'a [u8]) -> Option<Self> {
        const SEQUENCE: u8 = 0x30;
        const BIT_STRING: u8 = 0x03;
        const VERSION: u8 = 0xA0;
        let mut rest = certificate;
        let mut outer = element(&mut rest, SEQUENCE)?;
        let mut body = element(&mut outer, SEQUENCE)?;
        // Version 1 leaves the version out.
        let _ = element(&mut body, VERSION);
        // serialNumber, signature, issuer, validity, subject.
        for _ in 0..5 {
            let tag = *body.first()?;
            element(&mut body, tag)?;
        }
        let mut key = element(&mut body, SEQUENCE)?;
        let algorithm = element(&mut key, SEQUENCE)?;
        // The first byte counts unused bits: none in a key.
        let bits = element(&mut key, BIT_STRING)?.strip_prefix(&[0])?;
        Some(PublicKey { algorithm, bits })
    }
}

/// Takes the DER element with this tag off the front of `rest`; its content.
fn element<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&[found, first], mut tail) = rest.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        let (digits, after) = tail.split_at_checked(usize::from(first & 0x7F))?;
        if digits.is_empty() || digits.len() > 3 {
            return None;
        }
        tail = after;
        digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit))
    };
    let (content, after) = tail.split_at_checked(length)?;
    *rest = after;
    Some(content)
}
