//! Builds the measured programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ringpoll_competitors::program::build;
use tempfile::TempDir;

/// The paths of the measured programs.
pub(crate) struct Programs {
    pub(crate) ringpoll: PathBuf,
    competitors: BTreeMap<String, PathBuf>,
    /// The reason if nginx is unavailable.
    pub(crate) no_nginx: Option<String>,
    /// For the files of nginx.
    directory: TempDir,
}

impl Programs {
    /// Builds the competitors, and ringpoll unless it is given.
    ///
    /// # Errors
    /// If cargo fails.
    pub(crate) fn build(ringpoll: Option<PathBuf>) -> Result<Self, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let competitors = build(&here.join("Cargo.toml"), &["--bins"])?;
        let ringpoll = match ringpoll {
            Some(file) => file,
            None => {
                let built = build(&here.join("../../Cargo.toml"), &["--bin", "ringpoll"])?;
                built.get("ringpoll").cloned().ok_or("cargo did not build ringpoll")?
            }
        };
        let nginx = Command::new("nginx").arg("-v").stderr(Stdio::null()).status();
        let no_nginx = nginx.is_err().then(|| "nginx is not installed".to_owned());
        let directory = TempDir::new().map_err(|error| format!("a directory: {error}"))?;
        Ok(Self { ringpoll, competitors, no_nginx, directory })
    }

    /// Returns the path of a competitor.
    pub(crate) fn competitor(&self, name: &str) -> &Path {
        &self.competitors[name]
    }

    /// Returns the command line of a competitor: program, `{port}` and flags.
    pub(crate) fn command(&self, name: &str, flags: &[&str]) -> Vec<String> {
        let program = self.competitor(name).display().to_string();
        let mut arguments = vec![program, "{port}".to_owned()];
        arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
        if name == "nginx_server" {
            arguments
                .extend(["--directory".to_owned(), self.directory.path().display().to_string()]);
        }
        arguments
    }
}
