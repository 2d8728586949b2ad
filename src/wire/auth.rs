//! The arithmetic of passwords: scrambles, their verification, stored hashes. No exchange.
//!
//! Sources: "Native Authentication" and "Caching_sha2_password information" of the MySQL source
//! documentation.

pub mod signature;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{self, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use zeroize::{Zeroize, Zeroizing};

pub const NATIVE_PASSWORD: &[u8] = b"mysql_native_password";
pub const CACHING_SHA2_PASSWORD: &[u8] = b"caching_sha2_password";
pub const SHA256_PASSWORD: &[u8] = b"sha256_password";
pub const CLEAR_PASSWORD: &[u8] = b"mysql_clear_password";
/// The client's side of MariaDB's plugin `ed25519`.
pub const ED25519: &[u8] = b"client_ed25519";
pub const PARSEC: &[u8] = b"parsec";

/// The exchanges that we know how to take part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plugin {
    NativePassword,
    CachingSha2Password,
    Sha256Password,
    /// The password in the clear: of plugins that check it elsewhere (LDAP, PAM).
    ClearPassword,
    Ed25519,
    Parsec,
}

impl Plugin {
    pub fn from_name(name: &[u8]) -> Option<Plugin> {
        Some(match name {
            NATIVE_PASSWORD => Plugin::NativePassword,
            CACHING_SHA2_PASSWORD => Plugin::CachingSha2Password,
            SHA256_PASSWORD => Plugin::Sha256Password,
            CLEAR_PASSWORD => Plugin::ClearPassword,
            ED25519 => Plugin::Ed25519,
            PARSEC => Plugin::Parsec,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static [u8] {
        match self {
            Plugin::NativePassword => NATIVE_PASSWORD,
            Plugin::CachingSha2Password => CACHING_SHA2_PASSWORD,
            Plugin::Sha256Password => SHA256_PASSWORD,
            Plugin::ClearPassword => CLEAR_PASSWORD,
            Plugin::Ed25519 => ED25519,
            Plugin::Parsec => PARSEC,
        }
    }
}

/// What proves to a server who we are. Zeroed when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The account has no password.
    Empty,
    Password(Zeroizing<Vec<u8>>),
    /// `SHA1(password)`: enough for mysql_native_password and for nothing else.
    NativeStage1(Zeroizing<[u8; 20]>),
}

impl Secret {
    pub fn from_password(password: impl Into<Vec<u8>>) -> Self {
        let password = Zeroizing::new(password.into());
        if password.is_empty() { Secret::Empty } else { Secret::Password(password) }
    }

    /// The password itself, if it is known.
    pub fn password(&self) -> Option<&[u8]> {
        match self {
            Secret::Empty => Some(b""),
            Secret::Password(password) => Some(password),
            Secret::NativeStage1(_) => None,
        }
    }

    /// `SHA1(password)`; `None` for an empty password, which has no scramble.
    pub fn native_stage1(&self) -> Option<Zeroizing<[u8; 20]>> {
        match self {
            Secret::Empty => None,
            Secret::Password(password) => Some(Zeroizing::new(native_stage1(password))),
            Secret::NativeStage1(stage1) => Some(stage1.clone()),
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The server's random bytes of one login. Servers send 20 of them and a NUL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; Nonce::LENGTH]);

impl Nonce {
    pub const LENGTH: usize = 20;

    /// Makes a nonce of random bytes. As in servers none of them is NUL, which would end the
    /// string for old clients, or `$`, which separates the fields of stored hashes.
    pub fn from_random(mut random: [u8; Nonce::LENGTH]) -> Self {
        for byte in &mut random {
            *byte &= 0x7F;
            if *byte == 0 || *byte == b'$' {
                *byte += 1;
            }
        }
        Nonce(random)
    }

    pub fn as_bytes(&self) -> &[u8; Nonce::LENGTH] {
        &self.0
    }
}

impl From<[u8; Nonce::LENGTH]> for Nonce {
    fn from(bytes: [u8; Nonce::LENGTH]) -> Self {
        Nonce(bytes)
    }
}

impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonce(..)")
    }
}

/// A digest of one part after the other.
fn hash<const N: usize>(algorithm: &'static digest::Algorithm, parts: &[&[u8]]) -> [u8; N] {
    let mut context = Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    let digest = context.finish();
    digest.as_ref().try_into().expect("callers ask for the algorithm's own length")
}

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    hash(&SHA1_FOR_LEGACY_USE_ONLY, parts)
}

/// SHA-256 over the parts.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    hash(&SHA256, parts)
}

/// `SHA1(password)`: all that is needed to log in by mysql_native_password.
pub fn native_stage1(password: &[u8]) -> [u8; 20] {
    sha1(&[password])
}

/// `SHA1(SHA1(password))`: what the server stores.
pub fn native_stage2(stage1: &[u8; 20]) -> [u8; 20] {
    sha1(&[stage1])
}

/// What a client answers to `nonce`.
pub fn native_scramble(stage1: &[u8; 20], nonce: &Nonce) -> [u8; 20] {
    let mut scramble = sha1(&[nonce.as_bytes(), &native_stage2(stage1)]);
    xor(&mut scramble, stage1);
    scramble
}

/// `SHA1(password)` when `scramble` proves that the client has the password stored as `stage2`.
pub fn native_verify(scramble: &[u8], nonce: &Nonce, stage2: &[u8; 20]) -> Option<[u8; 20]> {
    let mut stage1: [u8; 20] = scramble.try_into().ok()?;
    xor(&mut stage1, &sha1(&[nonce.as_bytes(), stage2]));
    if verify_slices_are_equal(&native_stage2(&stage1), stage2).is_ok() {
        return Some(stage1);
    }
    stage1.zeroize();
    None
}

/// Reads a stored hash of mysql_native_password: `*` and 40 hexadecimal digits.
pub fn parse_native_hash(stored: &[u8]) -> Option<[u8; 20]> {
    let digits = stored.strip_prefix(b"*")?;
    if digits.len() != 40 {
        return None;
    }
    let mut hash = [0; 20];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(hash)
}

/// What a client answers to `nonce` under caching_sha2_password.
pub fn sha2_scramble(password: &[u8], nonce: &Nonce) -> [u8; 32] {
    let mut stage1 = sha256(&[password]);
    let stage2 = sha256(&[&stage1]);
    let mut scramble = sha256(&[&stage2, nonce.as_bytes()]);
    xor(&mut scramble, &stage1);
    stage1.zeroize();
    scramble
}

/// Whether `scramble` proves that the client has this password.
pub fn sha2_verify(scramble: &[u8], nonce: &Nonce, password: &[u8]) -> bool {
    verify_slices_are_equal(scramble, &sha2_scramble(password, nonce)).is_ok()
}

/// What MariaDB's clients from 11.4 on want to read in the OK packet of a login before they trust a
/// self-signed certificate: that whoever holds the certificate knows the account's hash too.
///
/// `stage2` is the stored hash of mysql_native_password, `fingerprint` the certificate's SHA-256.
/// (MariaDB's MDEV-31855; the clients compare the digits as text, in upper case.)
pub fn certificate_proof(stage2: &[u8; 20], nonce: &Nonce, fingerprint: &[u8; 32]) -> Vec<u8> {
    let digest = sha256(&[stage2, nonce.as_bytes(), fingerprint]);
    let mut proof = vec![0x01];
    for byte in digest {
        proof.extend_from_slice(format!("{byte:02X}").as_bytes());
    }
    proof
}

/// Whether two secrets are equal, in time that depends on their lengths alone.
pub fn same_secret(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

/// Masks `bytes` with `mask`, repeated: how a cleartext is mixed with the nonce before RSA.
pub fn xor(bytes: &mut [u8], mask: &[u8]) {
    for (byte, mask) in bytes.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: Nonce = Nonce(*b"0123456789abcdefghij");

    #[test]
    fn scrambles_are_what_other_clients_compute() {
        let nonce = NONCE.as_bytes();
        for password in [&b"secret"[..], b"p", &[0xFF; 300]] {
            let native = mysql_common::auth::plugins::mysql_native_password::scramble_native(
                nonce, password,
            )
            .unwrap();
            assert_eq!(native_scramble(&native_stage1(password), &NONCE), native);
            let sha2 = mysql_common::auth::plugins::caching_sha2_password::scramble_sha256(
                nonce, password,
            )
            .unwrap();
            assert_eq!(sha2_scramble(password, &NONCE), sha2);
        }
    }

    #[test]
    fn a_native_scramble_yields_what_logs_in() {
        // SELECT PASSWORD('secret') on MariaDB.
        let stored = parse_native_hash(b"*14E65567ABDB5135D0CFD9A70B3032C179A49EE7").unwrap();
        let stage1 = native_stage1(b"secret");
        let scramble = native_scramble(&stage1, &NONCE);
        assert_eq!(native_verify(&scramble, &NONCE, &stored), Some(stage1));
        let wrong = native_scramble(&native_stage1(b"Secret"), &NONCE);
        assert_eq!(native_verify(&wrong, &NONCE, &stored), None);
        assert_eq!(native_verify(b"", &NONCE, &stored), None);
        assert_eq!(native_verify(&scramble[1..], &NONCE, &stored), None);
    }

    #[test]
    fn stored_hashes_that_are_none() {
        for stored in [&b""[..], b"*", b"*14E6", b"14E65567ABDB5135D0CFD9A70B3032C179A49EE7"] {
            assert_eq!(parse_native_hash(stored), None);
        }
        assert_eq!(parse_native_hash(b"*ZZE65567ABDB5135D0CFD9A70B3032C179A49EE7"), None);
        assert!(parse_native_hash(b"*14e65567abdb5135d0cfd9a70b3032c179a49ee7").is_some());
    }

    #[test]
    fn a_sha2_scramble_is_verified() {
        let scramble = sha2_scramble(b"secret", &NONCE);
        assert!(sha2_verify(&scramble, &NONCE, b"secret"));
        assert!(!sha2_verify(&scramble, &NONCE, b"Secret"));
        assert!(!sha2_verify(b"", &NONCE, b"secret"));
        assert!(!sha2_verify(&scramble[..31], &NONCE, b"secret"));
    }

    #[test]
    fn the_proof_of_a_certificate_is_text() {
        let proof = certificate_proof(&[1; 20], &NONCE, &[2; 32]);
        assert_eq!(proof.len(), 65);
        assert_eq!(proof[0], 1);
        assert!(proof[1..].iter().all(|digit| b"0123456789ABCDEF".contains(digit)));
        assert_ne!(proof, certificate_proof(&[1; 20], &NONCE, &[3; 32]));
    }

    #[test]
    fn a_nonce_has_no_bytes_that_end_or_split_it() {
        let nonce = Nonce::from_random(std::array::from_fn(|i| [0, 0x24, 0x80, 0xA4, 0xFF][i % 5]));
        assert!(nonce.as_bytes().iter().all(|&byte| byte != 0 && byte != b'$' && byte < 0x80));
    }
}
