//! Plugins of MariaDB that sign the server's nonce: ed25519 (10.1.22 and later) and parsec (11.6
//! and later). Both need the password itself.
//!
//! Sources: "Authentication Plugin - ed25519" and "Authentication Plugin - PARSEC" of the MariaDB
//! knowledge base; RFC 8032, section 5.1.6.

use std::num::NonZeroU32;

use aws_lc_rs::digest::{Context, SHA512};
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA512};
use aws_lc_rs::signature::Ed25519KeyPair;
use curve25519_dalek::scalar::clamp_integer;
use curve25519_dalek::{EdwardsPoint, Scalar};
use zeroize::Zeroizing;

use crate::wire::codec::Malformed;

/// Bytes of the nonces of these plugins.
pub const CHALLENGE: usize = 32;

/// Signs with a key that is the SHA-512 of the password.
///
/// RFC 8032 takes the hash of a seed of 32 bytes for that, so no library's own interface signs
/// with passwords of another length.
pub fn ed25519(password: &[u8], challenge: &[u8; CHALLENGE]) -> [u8; 64] {
    let key = Zeroizing::new(sha512(&[password]));
    let (secret, prefix) = key.split_at(32);
    let secret: &[u8; 32] = secret.try_into().expect("half of 64");
    let secret = Zeroizing::new(Scalar::from_bytes_mod_order(clamp_integer(*secret)));
    let public = EdwardsPoint::mul_base(&secret).compress();

    let nonce = Scalar::from_bytes_mod_order_wide(&sha512(&[prefix, challenge]));
    let nonce = Zeroizing::new(nonce);
    let commitment = EdwardsPoint::mul_base(&nonce).compress();
    let hash = sha512(&[commitment.as_bytes(), public.as_bytes(), challenge]);
    let proof = Scalar::from_bytes_mod_order_wide(&hash) * *secret + *nonce;

    let mut signature = [0; 64];
    signature[..32].copy_from_slice(commitment.as_bytes());
    signature[32..].copy_from_slice(proof.as_bytes());
    signature
}

/// Signs both sides' nonces with a key that is derived from the password and the account's salt;
/// what is sent: our nonce and the signature. `parameters` are the server's second packet.
pub fn parsec(
    password: &[u8],
    parameters: &[u8],
    challenge: &[u8; CHALLENGE],
    random: &[u8; CHALLENGE],
) -> Result<Vec<u8>, Malformed> {
    /// Of the salt.
    const LENGTH: usize = 18;
    let [b'P', factor @ 0..=3, salt @ ..] = parameters else {
        return Err(Malformed("parameters of parsec that are not known here"));
    };
    if salt.len() != LENGTH {
        return Err(Malformed("a salt of parsec that has not 18 bytes"));
    }
    let rounds = NonZeroU32::new(1024 << factor).expect("a power of two");
    let mut seed = Zeroizing::new([0; 32]);
    pbkdf2::derive(PBKDF2_HMAC_SHA512, rounds, salt, password, &mut *seed);
    let key = Ed25519KeyPair::from_seed_unchecked(&*seed).expect("a seed of 32 bytes");
    let signature = key.sign(&[&challenge[..], random].concat());
    Ok([&random[..], signature.as_ref()].concat())
}

fn sha512(parts: &[&[u8]]) -> [u8; 64] {
    let mut context = Context::new(&SHA512);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("the length of SHA-512")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ED25519, KeyPair, UnparsedPublicKey};

    #[test]
    fn a_password_of_a_seeds_length_signs_as_the_rfc_does() {
        let (password, challenge) = ([7; 32], [9; 32]);
        let key = Ed25519KeyPair::from_seed_unchecked(&password).unwrap();
        assert_eq!(ed25519(&password, &challenge), key.sign(&challenge).as_ref());
    }

    #[test]
    fn the_signature_of_parsec_covers_both_nonces() {
        let parameters = [&b"P\x02"[..], &[5; 18]].concat();
        let sent = parsec(b"secret", &parameters, &[1; 32], &[2; 32]).unwrap();
        assert_eq!((sent.len(), &sent[..32]), (96, &[2; 32][..]));
        let mut seed = [0; 32];
        let rounds = NonZeroU32::new(4096).unwrap();
        pbkdf2::derive(PBKDF2_HMAC_SHA512, rounds, &[5; 18], b"secret", &mut seed);
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let message = [[1; 32], [2; 32]].concat();
        UnparsedPublicKey::new(&ED25519, key.public_key()).verify(&message, &sent[32..]).unwrap();
        for wrong in [&b""[..], b"P", b"P\x04", b"Q\0", &parameters[..19]] {
            assert!(parsec(b"secret", wrong, &[1; 32], &[2; 32]).is_err());
        }
    }
}
