//! From the configuration to what sessions share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use super::Error;
use crate::backend::pools::Pools;
use crate::config::{
    AuthMode, BackendTls, BackendTlsMode, ClientTlsMode, Compression, Config, Listen, ListenTls,
    PoolCompression, PoolMode,
};
use crate::frontend::accounts::Accounts;
use crate::frontend::context::{Collations, Context, Traffic};
use crate::frontend::limits::Limits;
use crate::frontend::login::{Encryption, LoginContext, Ownership};
use crate::frontend::registry::Registry;
use crate::frontend::scopes::Scopes;
use crate::metrics::Metrics;
use crate::monitor::Handles;
use crate::net::rsa::{LazyRsaKey, RsaKey};
use crate::net::tls::client::{ClientTls, Proof};
use crate::net::tls::server::{Identity, ServerTls};
use crate::routing::{Policy, Rescues, Rules};
use crate::session::statements::Texts;
use crate::sql::Dialect;
use crate::sql::cache::{Verdicts, Worker};
use crate::wire::Capabilities;
use crate::wire::auth::Secret;

/// How long opening a connection to a server may take, and each private command on it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most verdicts of full parses that are remembered.
const MOST_VERDICTS: usize = 10_000;
/// Most statements that wait to be parsed in full; more are not looked at.
const MOST_OPEN: usize = 64;

/// How connections to servers are encrypted.
pub fn backend_tls(settings: &BackendTls) -> Result<ClientTls, Error> {
    let ca = settings.ca.clone().unwrap_or_default();
    Ok(match settings.mode {
        BackendTlsMode::Disabled => ClientTls::Disabled,
        BackendTlsMode::Preferred => ClientTls::preferred()?,
        BackendTlsMode::Required => ClientTls::required()?,
        BackendTlsMode::VerifyCa => ClientTls::verified(Proof::Authority, &ca)?,
        BackendTlsMode::VerifyIdentity => ClientTls::verified(Proof::Identity, &ca)?,
    })
}

/// How clients may encrypt.
pub(super) fn encryption(settings: &ListenTls) -> Result<Encryption, Error> {
    let tls = || -> Result<Arc<ServerTls>, Error> {
        let client_ca = settings.client_ca.as_deref();
        let identity = match (&settings.cert, &settings.key) {
            (Some(certificate), Some(key)) => Identity::from_files(certificate, key, client_ca)?,
            _ => Identity::self_made(client_ca)?,
        };
        Ok(Arc::new(ServerTls::new(identity)))
    };
    Ok(match settings.mode {
        ClientTlsMode::Disabled => Encryption::Disabled,
        ClientTlsMode::Preferred => Encryption::Preferred(tls()?),
        ClientTlsMode::Required => Encryption::Required(tls()?),
    })
}

/// The key for passwords of clients without TLS; without one from the configuration it is made
/// when it is first needed.
pub(super) fn rsa_key(settings: &Listen) -> Result<LazyRsaKey, Error> {
    Ok(match &settings.rsa_key {
        Some(path) => LazyRsaKey::ready(RsaKey::from_file(path)?),
        None => LazyRsaKey::default(),
    })
}

/// The capabilities that stand for these.
fn compression(offered: &[Compression]) -> Capabilities {
    let flags = offered.iter().map(|way| match way {
        Compression::Zlib => Capabilities::COMPRESS,
        Compression::Zstd => Capabilities::ZSTD_COMPRESSION,
    });
    flags.collect()
}

/// `[[auth.users]]` as accounts know them.
pub(super) fn listed_users(config: &Config) -> Vec<(Vec<u8>, Secret)> {
    let users = config.auth.users.iter().map(|user| {
        let password = user.password.as_ref().map_or("", |secret| secret.expose());
        (user.name.as_bytes().to_vec(), Secret::from_password(password))
    });
    users.collect()
}

/// The settings of traffic that a reload can change.
pub(super) fn traffic(config: &Config, metrics: &Metrics) -> Traffic {
    let is_rule = |name: &str| config.rules.iter().any(|rule| rule.name == name);
    metrics.rules.retain(is_rule);
    Traffic {
        policy: Policy {
            no_replica: config.routing.no_replica,
            wait: config.routing.wait,
            // One for the primary's sample, one for the replica's, and one that was late.
            blur: 3 * config.monitor.interval,
        },
        rules: Rules::new(&config.rules, |name| metrics.rules.of(name)),
        balance: config.routing.balance,
        spills: config.routing.spill_limit.map(|limit| Arc::new(Semaphore::new(limit as usize))),
        consistency: config.routing.consistency,
        token_scope: config.routing.token_scope,
        monotonic: config.routing.monotonic,
        max_lag: config.routing.max_lag,
        lease_timeout: config.pool.lease_timeout,
        write_hold: config.routing.write_hold,
        connect_timeout: CONNECT_TIMEOUT,
        slow: config.log.slow,
        statement_timeout: config.limits.statement_timeout,
        idle_timeout: config.limits.idle_timeout,
        max_connections: config.listen.max_connections,
        per_user_connections: config.limits.per_user_connections,
        per_address_connections: config.limits.per_address_connections,
        proxies: config.listen.proxy_protocol_from.as_slice().into(),
    }
}

pub(super) fn context(
    config: &Config,
    observed: &Handles,
    metrics: Arc<Metrics>,
    tls: ClientTls,
    encryption: Encryption,
    rsa_key: LazyRsaKey,
) -> Result<Context, Error> {
    let accounts = Accounts::new(
        listed_users(config),
        config.auth.mode == AuthMode::Static,
        observed.directory.clone(),
        observed.requests.clone(),
    );
    let mut login = LoginContext::new(
        accounts,
        encryption,
        rsa_key,
        tls.clone(),
        observed.topology.clone(),
        observed.greeting.clone(),
        config.listen.login_timeout,
    );
    login.write_hold = ArcSwap::from_pointee(config.routing.write_hold);
    login.compression = compression(&config.listen.compression);
    login.backend_compression = match config.pool.compression {
        PoolCompression::None => Capabilities::empty(),
        PoolCompression::Zlib => Capabilities::COMPRESS,
        PoolCompression::Zstd => Capabilities::ZSTD_COMPRESSION,
    };
    login.ownership = match config.pool.mode {
        PoolMode::Statement => Ownership::Shared,
        PoolMode::Session => Ownership::Session { announced: config.listen.proxy_protocol_out },
    };
    let verdicts = Arc::new(Verdicts::new(MOST_VERDICTS, random_seed()));
    let opinions = Worker::start(verdicts, MOST_OPEN).map_err(Error::Thread)?;
    let traffic = ArcSwap::from_pointee(traffic(config, &metrics));
    Ok(Context {
        topology: observed.topology.clone(),
        pools: Arc::new(Pools::new(config.pool.max_per_backend, metrics.clone())),
        registry: Arc::new(Registry::new()),
        metrics,
        limits: Limits::new(),
        login,
        dialect: ArcSwap::from_pointee(Dialect::default()),
        backend_tls: tls,
        traffic,
        collations: ArcSwap::from_pointee(Collations::default()),
        texts: Texts::default(),
        opinions,
        samples: observed.samples.clone(),
        abandoned: observed.abandoned.clone(),
        scopes: Scopes::default(),
        rescues: Rescues::new(Instant::now()),
        tickets: AtomicU64::new(0),
    })
}

/// A number that nobody outside can guess: cached verdicts are found by hashes of texts that
/// clients choose.
fn random_seed() -> u64 {
    let mut seed = [0; 8];
    // Without random bytes there are no nonces either, and no client gets in.
    let _ = aws_lc_rs::rand::fill(&mut seed);
    u64::from_le_bytes(seed)
}
