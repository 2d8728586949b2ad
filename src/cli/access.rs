//! How servers are logged in to by what `proxy.toml` says.

use rwproxy::administration::Access;
use rwproxy::backend::Credential;
use rwproxy::config::{Config, Secret};
use rwproxy::server;
use rwproxy::wire::auth;

pub fn access(config: &Config, user: &str, password: &Secret) -> Result<Access, server::Error> {
    let secret = auth::Secret::from_password(password.expose());
    Ok(Access {
        credential: Credential::new(user.as_bytes(), secret),
        tls: server::backend_tls(&config.backend_tls)?,
        announce: config.listen.announces_itself(),
    })
}
