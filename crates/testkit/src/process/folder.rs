//! A temporary folder that goes away however the test ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::{Error, Result};

/// Waits for its input to end, then removes the folder; again, while programs that are dying still write into it.
const JANITOR: &str = r#"
read -r _
tries=0
while [ -e "$1" ] && [ "$tries" -lt 100 ]; do
  rm -rf "$1"
  tries=$((tries + 1))
  [ -e "$1" ] && sleep 0.1
done
"#;

/// A temporary folder, readable by its owner only, removed when the value is dropped and also when this process ends
/// without dropping it (a static, SIGKILL). Set `DUO_TESTKIT_KEEP=1` to keep it for a look at its logs.
#[derive(Debug)]
pub struct TempFolder {
    path: PathBuf,
    janitor: Option<Child>,
}

impl TempFolder {
    /// A new folder in the system's temporary folder; `prefix` starts its name.
    pub fn new(prefix: &str) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let path = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir()
            .map_err(Error::io("create folder in", std::env::temp_dir()))?
            .keep();
        if std::env::var_os("DUO_TESTKIT_KEEP").is_some_and(|value| value == "1") {
            return Ok(Self { path, janitor: None });
        }
        let janitor = Command::new("sh")
            .args(["-c", JANITOR, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(Error::io("run", "sh"))?;
        Ok(Self { path, janitor: Some(janitor) })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside the folder.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file into the folder, readable by the owner only, and returns its path. Who reads it while it is replaced
    /// sees the former content or the new one: the worlds of a test program share kubeconfigs.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        use std::io::Write as _;
        let path = self.join(name);
        tempfile::NamedTempFile::new_in(&self.path)
            .and_then(|mut file| {
                file.write_all(content.as_bytes())?;
                file.persist(&path).map_err(|error| error.error)
            })
            .map_err(Error::io("write", &path))?;
        Ok(path)
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if let Some(mut janitor) = self.janitor.take() {
            drop(janitor.stdin.take());
            // nothing can be done about a folder that stays, and a panic in drop would hide the test's own
            let _ = janitor.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_removed_with_all_that_is_in_it() {
        let folder = TempFolder::new("duo-testkit-").unwrap();
        let file = folder.write("a", "text").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
        let path = folder.path().to_path_buf();
        drop(folder);
        assert!(!path.exists());
    }
}
