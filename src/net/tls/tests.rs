//! Both sides against each other, with certificates of every kind.

use std::io;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SigningKey};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls;

use super::client::{ClientTls, Proof, upgrade};
use super::provider;
use super::server::{Identity, accept};
use crate::net::stream::Socket;
use crate::net::{PacketStream, Stream};

/// Two ends of a TCP connection.
async fn ends() -> (PacketStream, PacketStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let stream = |stream| PacketStream::new(Stream::Plain(Socket::Tcp(stream)));
    (stream(client), stream(server))
}

/// The handshake's outcome at the client; after it a packet goes each way.
async fn handshake(
    client: &ClientTls,
    server: Arc<ServerConfig>,
    name: &'static str,
) -> io::Result<()> {
    let (ClientTls::Preferred(config) | ClientTls::Required(config)) = client else {
        panic!("a client without TLS");
    };
    let (near, far) = ends().await;
    let serve = async {
        let mut stream = accept(far, server).await?;
        let packet = stream.read_packet(100, Some(0)).await.map_err(io::Error::other)?;
        stream.write_packet(1, &packet.payload).await
    };
    let converse = async {
        let name = ServerName::try_from(name).unwrap();
        let mut stream = upgrade(near, config.clone(), name).await?;
        assert!(stream.stream().is_tls());
        stream.write_packet(0, b"hello").await?;
        let packet = stream.read_packet(100, Some(1)).await.map_err(io::Error::other)?;
        assert_eq!(packet.payload, &b"hello"[..]);
        Ok(())
    };
    let (_, outcome) = tokio::join!(serve, converse);
    outcome
}

/// A directory with `ca.pem`, and `cert.pem` and `key.pem` signed by it for these names.
fn authority(names: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let write = |name, text: String| std::fs::write(directory.path().join(name), text).unwrap();
    write("ca.pem", ca.pem());
    write("cert.pem", certificate.pem());
    write("key.pem", key.serialize_pem());
    directory
}

fn identity(directory: &TempDir) -> Identity {
    let path = |name| directory.path().join(name);
    let authorities = path("ca.pem");
    Identity::from_files(&path("cert.pem"), &path("key.pem"), Some(&authorities)).unwrap()
}

#[tokio::test]
async fn each_mode_asks_for_its_proof() {
    let ours = authority(&["127.0.0.1", "db.example"]);
    let theirs = authority(&["127.0.0.1"]);
    let verified = |proof| ClientTls::verified(proof, &ours.path().join("ca.pem")).unwrap();
    let required = ClientTls::required().unwrap();
    let (vouched, named) = (verified(Proof::Authority), verified(Proof::Identity));
    let self_made = Identity::self_made(None).unwrap();
    assert!(self_made.self_made.is_some());
    let (ours, theirs) = (identity(&ours).config, identity(&theirs).config);
    let table = [
        (&required, &self_made.config, "127.0.0.1", true),
        (&required, &theirs, "127.0.0.1", true),
        (&vouched, &self_made.config, "127.0.0.1", false),
        (&vouched, &theirs, "127.0.0.1", false),
        (&vouched, &ours, "127.0.0.1", true),
        (&vouched, &ours, "10.0.0.1", true),
        (&named, &ours, "127.0.0.1", true),
        (&named, &ours, "db.example", true),
        (&named, &ours, "10.0.0.1", false),
        (&named, &ours, "other.example", false),
        (&named, &theirs, "127.0.0.1", false),
    ];
    for (row, (client, server, name, accepted)) in table.into_iter().enumerate() {
        let outcome = handshake(client, server.clone(), name).await;
        assert_eq!(outcome.is_ok(), accepted, "row {row}: {outcome:?}");
    }
}

/// Shows one certificate and signs with one key, whether they fit or not.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn showing(
    certificate: Vec<u8>,
    key: &KeyPair,
    version: &'static SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = provider().key_provider.load_private_key(key).unwrap();
    let certified = CertifiedKey::new(vec![CertificateDer::from(certificate)], key);
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows(Arc::new(certified))));
    Arc::new(config)
}

/// A DER element.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut element = vec![tag];
    match content.len() {
        length @ 0..0x80 => element.push(length as u8),
        length => element.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    element.extend(content);
    element
}

/// A self-signed certificate of X.509 version 1, as MariaDB 11.4 makes them.
fn version_1(key: &KeyPair) -> Vec<u8> {
    const ECDSA_WITH_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    let common_name = der(0x30, &[b"\x06\x03\x55\x04\x03", &der(0x0c, &[b"MariaDB Server"])]);
    let name = der(0x30, &[&der(0x31, &[&common_name])]);
    let time = der(0x17, &[b"240101000000Z"]);
    let validity = der(0x30, &[&time, &time]);
    let public = rcgen::PublicKeyData::subject_public_key_info(key);
    let body = der(0x30, &[b"\x02\x01\x00", ECDSA_WITH_SHA256, &name, &validity, &name, &public]);
    let signature = key.sign(&body).unwrap();
    der(0x30, &[&body, ECDSA_WITH_SHA256, &der(0x03, &[b"\0", &signature])])
}

#[tokio::test]
async fn a_version_1_certificate_is_good_enough_where_nobody_is_asked() {
    let key = KeyPair::generate().unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = || showing(version_1(&key), &key, version);
        for client in [ClientTls::preferred().unwrap(), ClientTls::required().unwrap()] {
            handshake(&client, server(), "127.0.0.1").await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_borrowed_certificate_is_refused() {
    let (key, stolen) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let client = ClientTls::required().unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = showing(version_1(&stolen), &key, version);
        handshake(&client, server, "127.0.0.1").await.unwrap_err();
        let server = showing(b"\x30\x03\x02\x01\x00".to_vec(), &key, version);
        handshake(&client, server, "127.0.0.1").await.unwrap_err();
    }
}

#[tokio::test]
async fn plain_bytes_ahead_of_the_handshake_are_refused() {
    let ClientTls::Required(config) = ClientTls::required().unwrap() else { unreachable!() };
    let (mut near, mut far) = ends().await;
    far.write(b"\x07\0\0\x02injected").await.unwrap();
    near.fill().await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let error = upgrade(near, config, name).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let (mut near, mut far) = ends().await;
    near.write(b"\x07\0\0\x02injected").await.unwrap();
    far.fill().await.unwrap();
    let config = Identity::self_made(None).unwrap().config;
    assert_eq!(accept(far, config).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn files_that_are_of_no_use() {
    let directory = authority(&["x"]);
    let path = |name: &str| directory.path().join(name);
    let bad = |certificate: &str, key: &str| {
        Identity::from_files(&path(certificate), &path(key), None).unwrap_err().to_string()
    };
    assert!(bad("missing.pem", "key.pem").contains("missing.pem"));
    assert!(bad("cert.pem", "missing.pem").contains("missing.pem"));
    assert!(bad("key.pem", "key.pem").contains("no certificate"));
    // Another certificate's key.
    bad("ca.pem", "key.pem");
    let error = ClientTls::verified(Proof::Authority, &path("key.pem")).unwrap_err();
    assert!(error.to_string().contains("no certificate"), "{error}");
}
