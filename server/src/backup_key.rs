//! The key to backups: a file that only the user who runs the server can read.
//!
//! A backup holds the ids by which clients are known. That a request comes from this machine says
//! little: a proxy here may have passed it on, or another user made it. Who can read the file may have
//! the backup.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Made when it is asked for first, removed with the server.
#[derive(Debug)]
pub(crate) struct BackupKey {
    /// The folder of the data, if there is one.
    folder: Option<PathBuf>,
    made: Mutex<Option<Key>>,
}

#[derive(Debug)]
struct Key {
    file: PathBuf,
    secret: String,
}

impl BackupKey {
    pub(crate) const fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, made: Mutex::new(None) }
    }

    /// Where the key is.
    pub(crate) fn file(&self) -> io::Result<PathBuf> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = match made.take() {
            Some(key) => key,
            None => self.make()?,
        };
        Ok(made.insert(key).file.clone())
    }

    /// Whether this is what the file says.
    pub(crate) fn opens(&self, shown: &str) -> bool {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(key) = &*made else { return false };
        // As long for a wrong one as for one that is nearly right.
        let differences = key.secret.bytes().zip(shown.bytes()).filter(|(a, b)| a != b).count();
        shown.len() == key.secret.len() && differences == 0
    }

    fn make(&self) -> io::Result<Key> {
        let mut random = [0_u8; 24];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (name, secret) = (hex(&random[..8]), hex(&random[8..]));
        let file = match &self.folder {
            Some(folder) => {
                let file = fs::canonicalize(folder)?.join(NAME);
                // That of an earlier process, which was killed.
                remove_if_there(&file)?;
                file
            }
            None => std::env::temp_dir().join(format!("rollcall-{NAME}-{name}")),
        };
        let mut options = fs::OpenOptions::new();
        options
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&file)?
            .write_all(secret.as_bytes())?;
        Ok(Key { file, secret })
    }
}

impl Drop for BackupKey {
    fn drop(&mut self) {
        if let Ok(Some(key)) = self.made.get_mut() {
            // Nobody can use it any more.
            let _ = fs::remove_file(&key.file);
        }
    }
}

fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The name of the file.
const NAME: &str = "backup-key";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_read_the_file_has_the_key() {
        let key = BackupKey::new(None);
        assert!(!key.opens(""), "there is none yet");
        let file = key.file().unwrap();
        assert_eq!(key.file().unwrap(), file, "it is made once");
        let secret = fs::read_to_string(&file).unwrap();
        assert!(key.opens(&secret) && secret.len() == 32);
        for wrong in ["", &secret[1..], &secret.replace(|c: char| c.is_ascii_hexdigit(), "0")] {
            assert!(!key.opens(wrong), "{wrong}");
        }
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        drop(key);
        assert!(!file.exists());
    }
}
