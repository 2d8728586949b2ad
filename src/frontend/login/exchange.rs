//! The conversation that proves who a client is.

use std::net::IpAddr;

use tokio::time::{Duration, Instant};
use zeroize::Zeroizing;

use super::LoginContext;
use super::dialogue::Dialogue;
use super::failure::LoginFailure;
use crate::frontend::accounts::{Account, Exchange, Known, Who};
use crate::session::accounts::Directory;
use crate::wire::auth::{
    Nonce, Plugin, Secret, native_stage2, native_verify, parse_native_hash, same_secret,
    sha2_verify,
};
use crate::wire::login::from_client::{Demand, FAST_AUTH_OK, LoginFromClient};

/// How long a login waits for the accounts to be read again before it gives up: as long as a
/// reading may take, which on a server under load is far longer than usual.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);

/// Who a client says it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim<'a> {
    pub user: &'a [u8],
    /// Where it is, if the servers are told.
    pub from: Option<IpAddr>,
    /// `None` when the client knows no plugins.
    pub plugin: Option<&'a [u8]>,
    pub auth_response: &'a [u8],
    /// COM_CHANGE_USER: the answer in the command itself is not taken, the client is asked.
    pub change: bool,
}

/// What the conversation has shown.
#[derive(Debug)]
pub(super) enum Proof {
    /// The client knows the secret that is known here too.
    Known(Known),
    /// The client has a secret; whether it is right only the primary can say.
    Presented(Secret),
    /// What the client answered fits nothing that is known. The primary may refuse it in its own
    /// words.
    Wrong,
}

/// Conducts the exchange that fits the account.
pub(super) async fn prove(
    dialogue: &mut Dialogue<'_>,
    context: &LoginContext,
    claim: Claim<'_>,
    nonce: Nonce,
    default: Plugin,
) -> Result<Proof, LoginFailure> {
    let plugin = match context.accounts.exchange(claim.user, default) {
        Exchange::Native => Plugin::NativePassword,
        Exchange::CachingSha2 => Plugin::CachingSha2Password,
        Exchange::NeedsListing { plugin } => {
            return Err(LoginFailure::NotListed { user: name(claim.user), plugin });
        }
        Exchange::OutOfReach { plugin } => {
            return Err(LoginFailure::OutOfReach { user: name(claim.user), plugin });
        }
    };
    if claim.plugin.is_none() && plugin != Plugin::NativePassword {
        return Err(LoginFailure::OldClient);
    }
    let known = context.accounts.known(Who { user: claim.user, from: claim.from });
    let mut machine = LoginFromClient::new(plugin, nonce, dialogue.is_secure());
    let mut demand = if claim.change {
        machine.switch()
    } else {
        machine.begin(claim.plugin, claim.auth_response)?
    };
    loop {
        demand = match demand {
            Demand::Exchange(payload) => {
                dialogue.write(&payload).await?;
                machine.receive(&dialogue.read().await?)?
            }
            Demand::PublicKey => machine.public_key(context.rsa_key().await?.public_pem()),
            Demand::Decrypt(ciphertext) => {
                // Whatever is wrong with it, the answer is that the password is: nobody learns
                // from us what decrypts.
                match context.rsa_key().await?.decrypt(&ciphertext) {
                    Some(cleartext) => match machine.decrypted(cleartext) {
                        Ok(demand) => demand,
                        Err(_) => return Ok(Proof::Wrong),
                    },
                    None => return Ok(Proof::Wrong),
                }
            }
            Demand::NoPassword => return Ok(presented(known, Secret::Empty)),
            Demand::Password(password) => return Ok(presented(known, Secret::Password(password))),
            Demand::Scramble(scramble) if plugin == Plugin::NativePassword => {
                return Ok(native(context, claim.user, known, &scramble, &nonce).await);
            }
            Demand::Scramble(scramble) => {
                let right = known.as_ref().is_some_and(|known| {
                    let password = known.credential.secret.password().unwrap_or_default();
                    !password.is_empty() && sha2_verify(&scramble, &nonce, password)
                });
                match (known.clone(), machine.full()) {
                    (Some(known), _) if right => {
                        dialogue.write_later(&FAST_AUTH_OK);
                        return Ok(Proof::Known(known));
                    }
                    (_, Some(full)) => full,
                    (_, None) => return Ok(Proof::Wrong),
                }
            }
        };
    }
}

fn name(user: &[u8]) -> String {
    String::from_utf8_lossy(user).into_owned()
}

/// A secret that came as it is: known already, or for the primary to judge.
fn presented(known: Option<Known>, secret: Secret) -> Proof {
    let same = known.filter(|known| match (&known.credential.secret, &secret) {
        (Secret::Empty, Secret::Empty) => true,
        (Secret::Password(known), Secret::Password(secret)) => same_secret(known, secret),
        _ => false,
    });
    same.map_or(Proof::Presented(secret), Proof::Known)
}

/// Judges a scramble of mysql_native_password: by the secret that is known, then by each hash of
/// the account's rows, and if none fits by those of a new reading, since the password may have
/// been set a moment ago.
async fn native(
    context: &LoginContext,
    user: &[u8],
    known: Option<Known>,
    scramble: &[u8],
    nonce: &Nonce,
) -> Proof {
    if let Some(known) = known {
        let stage1 = known.credential.secret.native_stage1();
        let stage2 = stage1.map(|stage1| native_stage2(&stage1));
        if stage2.is_some_and(|stage2| native_verify(scramble, nonce, &stage2).is_some()) {
            return Proof::Known(known);
        }
    }
    let deadline = Instant::now() + REFRESH_TIMEOUT;
    let found = match stage1(&context.accounts.directory(), user, scramble, nonce) {
        Some(found) => Some(found),
        None if context.accounts.decides(user) => None,
        None => {
            let anew = context.accounts.read_anew(deadline).await;
            anew.and_then(|directory| stage1(&directory, user, scramble, nonce))
        }
    };
    found.map_or(Proof::Wrong, Proof::Presented)
}

/// What the scramble was made of, if it fits a hash of the user's rows.
fn stage1(directory: &Directory, user: &[u8], scramble: &[u8], nonce: &Nonce) -> Option<Secret> {
    directory
        .rows(user)
        .filter_map(|row| parse_native_hash(&row.authentication))
        .find_map(|stage2| native_verify(scramble, nonce, &stage2))
        .map(|stage1| Secret::NativeStage1(Zeroizing::new(stage1)))
}

/// Whether the account must be used with TLS, as far as its rows tell: the strictest of them
/// counts, because which of them a server will match is not known here.
pub(super) fn requires_tls(context: &LoginContext, account: &Account) -> bool {
    context.accounts.directory().own_rows(&account.user).iter().any(|row| row.requires_tls)
}
