//! The programs that are measured: built, unless they are there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Where all of them are.
pub(crate) struct Programs {
    pub(crate) ringpoll: PathBuf,
    yardsticks: BTreeMap<String, PathBuf>,
    /// Why there is no nginx, if there is none.
    pub(crate) no_nginx: Option<String>,
    /// What nginx writes.
    directory: TempDir,
}

impl Programs {
    /// Builds the yardsticks, and ringpoll unless it is given.
    ///
    /// # Errors
    /// When cargo fails.
    pub(crate) fn build(ringpoll: Option<PathBuf>) -> Result<Self, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let yardsticks = cargo(&here.join("Cargo.toml"), &["--bins"])?;
        let ringpoll = match ringpoll {
            Some(file) => file,
            None => {
                let built = cargo(&here.join("../../Cargo.toml"), &["--bin", "ringpoll"])?;
                built.get("ringpoll").cloned().ok_or("cargo has built no ringpoll")?
            }
        };
        let nginx = Command::new("nginx").arg("-v").stderr(Stdio::null()).status();
        let no_nginx = nginx.is_err().then(|| "nginx is not installed".to_owned());
        let directory = TempDir::new().map_err(|error| format!("a directory: {error}"))?;
        Ok(Self { ringpoll, yardsticks, no_nginx, directory })
    }

    /// A yardstick by its name.
    pub(crate) fn yardstick(&self, name: &str) -> &Path {
        &self.yardsticks[name]
    }

    /// Its command line, `{port}` for the port and behind it these flags.
    pub(crate) fn command(&self, name: &str, flags: &[&str]) -> Vec<String> {
        let program = self.yardstick(name).display().to_string();
        let mut words = vec![program, "{port}".to_owned()];
        words.extend(flags.iter().map(|&flag| flag.to_owned()));
        if name == "nginx_server" {
            words.extend(["--directory".to_owned(), self.directory.path().display().to_string()]);
        }
        words
    }
}

/// Builds, and says where cargo has put what.
fn cargo(manifest: &Path, what: &[&str]) -> Result<BTreeMap<String, PathBuf>, String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(["build", "--release", "--locked", "--message-format", "json-render-diagnostics"])
        .args(what)
        .arg("--manifest-path")
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo build of {}: {}", manifest.display(), output.status));
    }
    let artifact = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let file = message["executable"].as_str()?;
        Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(file)))
    };
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(artifact).collect())
}
