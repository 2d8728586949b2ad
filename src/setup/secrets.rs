//! Passwords that setup makes, and the files that keep them: the same that `proxy.toml` names, so that
//! the next run, and the proxy, find them there.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use zeroize::Zeroizing;

use crate::config::Secret;

const LETTERS: &[u8] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Four groups of so many; with what is between them 31 characters, of 32 that a server takes for
/// the password of a replica.
const GROUP: usize = 7;

/// A password of 28 random characters, some 160 bits. Each kind that a server's rules may ask for is in it.
pub fn generate() -> io::Result<Secret> {
    loop {
        let mut text = Zeroizing::new(String::new());
        while text.len() < 4 * GROUP + 3 {
            if text.len() % (GROUP + 1) == GROUP {
                text.push('-');
            }
            let mut byte = [0; 1];
            aws_lc_rs::rand::fill(&mut byte)
                .map_err(|_| io::Error::other("the system gives no random bytes"))?;
            // Above the last whole multiple, some letters would be more likely than others.
            let most = 256 - 256 % LETTERS.len();
            if usize::from(byte[0]) < most {
                text.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
            }
        }
        let has = |kind: fn(&char) -> bool| text.chars().any(|c| kind(&c));
        if has(char::is_ascii_lowercase)
            && has(char::is_ascii_uppercase)
            && has(char::is_ascii_digit)
        {
            return Ok(Secret::new(text.to_string()));
        }
    }
}

/// Writes a password into a new file that only its owner may read, and waits until it is on the disk:
/// the password must not be lost once a server knows it.
///
/// # Errors
/// The file cannot be made, or there is one.
pub fn keep(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(secret.expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_differ_and_fit() {
        let one = generate().expect("random bytes");
        assert_eq!(one.expose().len(), 31);
        assert_eq!(one.expose().matches('-').count(), 3);
        assert_ne!(one.expose(), generate().expect("random bytes").expose());
    }

    #[test]
    fn a_file_is_for_its_owner_and_is_never_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("replication.secret");
        keep(&path, &Secret::new("a".to_owned())).expect("a new file");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "a\n");
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().expect("a file"));
            assert_eq!(mode & 0o777, 0o600);
        }
        keep(&path, &Secret::new("b".to_owned())).expect_err("it is there");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "a\n");
    }
}
