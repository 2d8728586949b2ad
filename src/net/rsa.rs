//! RSA as caching_sha2_password uses it on a connection without TLS: OAEP with SHA-1.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeyPair, KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use tokio::sync::OnceCell;
use tokio_rustls::rustls;
use zeroize::Zeroizing;

/// Why a password could not be encrypted for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    #[error("the server's RSA public key cannot be read")]
    Key,
    #[error("the password is too long for the server's RSA key of {bits} bits")]
    TooLong { bits: usize },
}

/// Encrypts `cleartext` for the holder of `public_key` (PEM, SubjectPublicKeyInfo).
pub fn encrypt(public_key: &[u8], cleartext: &[u8]) -> Result<Vec<u8>, EncryptError> {
    let key = SubjectPublicKeyInfoDer::from_pem_slice(public_key).map_err(|_| EncryptError::Key)?;
    let key = PublicEncryptingKey::from_der(&key).map_err(|_| EncryptError::Key)?;
    let bits = key.key_size_bits();
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| EncryptError::Key)?;
    let mut ciphertext = vec![0; key.ciphertext_size()];
    key.encrypt(&OAEP_SHA1_MGF1SHA1, cleartext, &mut ciphertext, None)
        .map_err(|_| EncryptError::TooLong { bits })?;
    Ok(ciphertext)
}

/// Why a private key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RsaKeyError {
    #[error(transparent)]
    Pem(#[from] pem::Error),
    #[error("not an RSA private key of 2048 to 8192 bits")]
    Unusable,
    #[error("the system gave no key")]
    Generation,
}

/// The key with which clients encrypt their passwords for us.
#[derive(Debug)]
pub struct RsaKey {
    private: OaepPrivateDecryptingKey,
    public_pem: String,
}

impl RsaKey {
    /// Makes a new key of 2048 bits: some hundred milliseconds of computation.
    pub fn generate() -> Result<Self, RsaKeyError> {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048)
            .map_err(|_| RsaKeyError::Generation)?;
        let der: Pkcs8V1Der = key.as_der().map_err(|_| RsaKeyError::Generation)?;
        Self::from_pkcs8(der.as_ref())
    }

    /// Reads a PEM file, in PKCS#8 or (as servers write it) PKCS#1.
    pub fn from_file(path: &Path) -> Result<Self, RsaKeyError> {
        match PrivateKeyDer::from_pem_file(path)? {
            PrivateKeyDer::Pkcs8(key) => Self::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => {
                let key =
                    KeyPair::from_der(key.secret_pkcs1_der()).map_err(|_| RsaKeyError::Unusable)?;
                let der: Pkcs8V1Der = key.as_der().map_err(|_| RsaKeyError::Unusable)?;
                Self::from_pkcs8(der.as_ref())
            }
            _ => Err(RsaKeyError::Unusable),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, RsaKeyError> {
        let private = PrivateDecryptingKey::from_pkcs8(der).map_err(|_| RsaKeyError::Unusable)?;
        let private = OaepPrivateDecryptingKey::new(private).map_err(|_| RsaKeyError::Unusable)?;
        let public_pem = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(der),
            &rcgen::PKCS_RSA_SHA256,
        )
        .map_err(|_| RsaKeyError::Unusable)?
        .public_key_pem();
        Ok(RsaKey { private, public_pem })
    }

    /// The public half, as servers send it.
    pub fn public_pem(&self) -> &[u8] {
        self.public_pem.as_bytes()
    }

    /// What the client encrypted; `None` when it is not encrypted for this key.
    pub fn decrypt(&self, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut cleartext = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let length =
            self.private.decrypt(&OAEP_SHA1_MGF1SHA1, ciphertext, &mut cleartext, None).ok()?.len();
        cleartext.truncate(length);
        Some(cleartext)
    }
}

/// A key that is made when it is first asked for.
#[derive(Debug, Default)]
pub struct LazyRsaKey {
    key: OnceCell<Arc<RsaKey>>,
}

impl LazyRsaKey {
    pub fn ready(key: RsaKey) -> Self {
        LazyRsaKey { key: OnceCell::new_with(Some(Arc::new(key))) }
    }

    /// The key. All who ask while it is being made, off the runtime's own threads, get the same.
    pub async fn get(&self) -> Result<Arc<RsaKey>, RsaKeyError> {
        let make = || async {
            let made = tokio::task::spawn_blocking(RsaKey::generate).await;
            made.unwrap_or(Err(RsaKeyError::Generation)).map(Arc::new)
        };
        self.key.get_or_try_init(make).await.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_one_side_encrypts_the_other_reads() {
        let key = LazyRsaKey::default();
        let (key, same) = (key.get().await.unwrap(), key.get().await.unwrap());
        assert!(Arc::ptr_eq(&key, &same));
        let ciphertext = encrypt(key.public_pem(), b"secret\0").unwrap();
        assert_eq!(ciphertext.len(), 256);
        assert_eq!(key.decrypt(&ciphertext).unwrap().as_slice(), b"secret\0");
        assert!(key.decrypt(&ciphertext[1..]).is_none());
        assert!(key.decrypt(&[0; 256]).is_none());
        assert!(key.decrypt(b"").is_none());
        let limit = 256 - 42;
        assert!(encrypt(key.public_pem(), &vec![0; limit]).is_ok());
        assert_eq!(
            encrypt(key.public_pem(), &vec![0; limit + 1]),
            Err(EncryptError::TooLong { bits: 2048 })
        );
    }

    #[test]
    fn keys_that_are_none() {
        assert_eq!(encrypt(b"PEM", b"x"), Err(EncryptError::Key));
        let empty = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
        assert_eq!(encrypt(empty, b"x"), Err(EncryptError::Key));
        assert!(RsaKey::from_file(Path::new("/nonexistent")).is_err());
    }
}
