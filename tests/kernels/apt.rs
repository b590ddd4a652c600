//! Fetches Debian packages with apt in separate directories. The apt state of the host stays
//! unchanged; only the addresses and keys of its sources are used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use regex_lite::Regex;

use crate::catalogue::Kernel;
use crate::tools::run;

/// Age after which the package lists are fetched again.
const MAX_LIST_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A package with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// The addresses of Debian's archives in the sources of the host.
#[derive(Debug)]
struct Mirror {
    main: String,
    security: Option<String>,
    /// `signed-by=…`, if the sources contain it.
    options: String,
}

pub(crate) struct Apt {
    directory: PathBuf,
}

impl Apt {
    /// Sets up apt in `directory` with the suites of `kernels` and current package lists.
    pub(crate) fn new(directory: PathBuf, kernels: &[Kernel]) -> Result<Self, String> {
        let apt = Self { directory };
        for needed in ["state/lists/partial", "cache/archives/partial"] {
            let path = apt.directory.join(needed);
            fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let sources = sources(&mirror()?, kernels);
        let file = apt.directory.join("sources.list");
        let is_new = fs::read_to_string(&file).ok().as_ref() != Some(&sources);
        if is_new || apt.lists_are_old() {
            fs::write(&file, sources).map_err(|error| format!("{}: {error}", file.display()))?;
            match apt.update() {
                // Cached kernels boot without the mirror.
                Err(error) if !is_new => println!("kernels · package lists are outdated: {error}"),
                result => result?,
            }
        }
        Ok(apt)
    }

    fn stamp(&self) -> PathBuf {
        self.directory.join("updated")
    }

    fn lists_are_old(&self) -> bool {
        let age = || fs::metadata(self.stamp()).ok()?.modified().ok()?.elapsed().ok();
        age().is_none_or(|age| age > MAX_LIST_AGE)
    }

    /// Fetches the package lists.
    pub(crate) fn update(&self) -> Result<(), String> {
        let _ = fs::remove_file(self.stamp());
        // By default apt-get fails only if every list fails.
        run(self.command("apt-get").args(["--error-on=any", "-qq", "update"]))?;
        fs::write(self.stamp(), "").map_err(|error| error.to_string())
    }

    fn command(&self, program: &str) -> Command {
        let at = |name: &str| self.directory.join(name).display().to_string();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::Etc::SourceList={}", at("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            format!("Dir::State={}", at("state")),
            "Dir::State::Status=/dev/null".to_owned(),
            format!("Dir::Cache={}", at("cache")),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            "APT::Sandbox::User=".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
            "Acquire::http::Timeout=60".to_owned(),
            // Indexes that the host may enable: AppStream metadata, lists of files.
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command.current_dir(&self.directory).env("LC_ALL", "C");
        command
    }

    /// Returns the package with the highest version whose name matches `kernel.package`.
    pub(crate) fn newest(&self, kernel: &Kernel) -> Result<Package, String> {
        let names = run(self.command("apt-cache").arg("pkgnames"))?.stdout;
        let pattern = Regex::new(&kernel.package).expect("a test compiles all patterns");
        let names = String::from_utf8_lossy(&names);
        let names: Vec<_> = names.lines().filter(|name| pattern.is_match(name)).collect();
        if names.is_empty() {
            let suites = kernel.suites.join(", ");
            return Err(format!("{}: no package in {suites} matches", kernel.package));
        }
        let known = run(self.command("apt-cache").arg("madison").args(names))?.stdout;
        let known = String::from_utf8_lossy(&known);
        let suites: Vec<_> = kernel.suites.iter().map(|suite| suite_name(suite)).collect();
        let mut packages = known.lines().filter_map(|line| parse_madison_line(line, &suites));
        let first = packages.next();
        let first = first.ok_or_else(|| format!("{}: not in its suites", kernel.package))?;
        Ok(packages.fold(first, |best, it| if is_later(&it, &best) { it } else { best }))
    }

    /// Downloads the package in exactly this version and returns its file.
    pub(crate) fn download(&self, package: &Package) -> Result<PathBuf, String> {
        let before = self.archives();
        let exact = format!("{}={}", package.name, package.version);
        run(self.command("apt-get").args(["-qq", "download", &exact]))?;
        let fetched = self.archives().into_iter().find(|file| !before.contains(file));
        fetched.ok_or_else(|| format!("{exact}: apt-get downloaded nothing"))
    }

    fn archives(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| path.extension().is_some_and(|it| it == "deb")).collect()
    }
}

/// Parses a line of `apt-cache madison`, `name | version | URI suite/component amd64 Packages`, and
/// returns the package if it is in one of `suites`.
fn parse_madison_line(line: &str, suites: &[&str]) -> Option<Package> {
    let fields: Vec<_> = line.split('|').map(str::trim).collect();
    let &[name, version, origin] = fields.as_slice() else { return None };
    let suite = origin.split_whitespace().nth(1)?.split('/').next()?;
    let is_offered = suites.contains(&suite) && origin.ends_with(" Packages");
    is_offered.then(|| Package { name: name.to_owned(), version: version.to_owned() })
}

fn is_later(one: &Package, other: &Package) -> bool {
    let mut compare = Command::new("dpkg");
    compare.args(["--compare-versions", &one.version, "gt", &other.version]);
    compare.status().is_ok_and(|status| status.success())
}

fn suite_name(suite: &str) -> &str {
    suite.strip_prefix("security:").unwrap_or(suite)
}

/// Returns the mirror that the apt sources of the host name, in either of their formats.
fn mirror() -> Result<Mirror, String> {
    let format = "$(REPO_URI) $(RELEASE) $(SOURCESENTRY)";
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", format, "Created-By: Packages"]);
    let known = run(&mut command)?.stdout;
    let known = String::from_utf8_lossy(&known);
    parse_mirror(&known).ok_or_else(|| "the apt sources name no mirror of Debian".to_owned())
}

fn parse_mirror(targets: &str) -> Option<Mirror> {
    let fields = targets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let all: Vec<_> = fields.filter(|fields| fields.len() == 3).collect();
    let is_debian = |uri: &str| uri.trim_end_matches('/').ends_with("/debian");
    let main = all.iter().find(|it| is_debian(it[0]) && !it[1].contains("-security"))?;
    let security = all.iter().find(|it| it[1].ends_with("-security")).map(|it| it[0].to_owned());
    let options = signed_by(main[2]).map_or_else(String::new, |it| format!("[signed-by={it}] "));
    Some(Mirror { main: main[0].to_owned(), security, options })
}

/// Returns the keyring of a sources entry, which is given as FILE:LINE.
fn signed_by(entry: &str) -> Option<String> {
    let (file, line) = entry.rsplit_once(':')?;
    let text = fs::read_to_string(Path::new(file)).ok()?;
    let from = text.lines().skip(line.parse::<usize>().ok()?.saturating_sub(1));
    // An entry is one line, or in `.sources` files a stanza that ends at an empty line.
    let stanza: Vec<_> = from.take_while(|line| !line.trim().is_empty()).collect();
    let stanza = if file.ends_with(".sources") { &stanza[..] } else { stanza.get(..1)? };
    let keyring = Regex::new(r"(?i)signed-by\s*[:=]\s*(/[^\s,\]]+)").expect("it is valid");
    stanza.iter().find_map(|line| Some(keyring.captures(line)?[1].to_owned()))
}

fn sources(mirror: &Mirror, kernels: &[Kernel]) -> String {
    let mut lines = Vec::new();
    for suite in kernels.iter().flat_map(|kernel| &kernel.suites) {
        let archive = match suite.starts_with("security:") {
            true => mirror.security.as_ref(),
            false => Some(&mirror.main),
        };
        // A host without security updates boots kernels without them.
        let Some(archive) = archive else { continue };
        let line = format!("deb {}{archive} {} main\n", mirror.options, suite_name(suite));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.concat()
}

pub(crate) fn sources_use_the_mirror_of_the_host() {
    let targets = "file:/other/ubuntu/ noble /nowhere:1\n\
        file:/archive/debian/ bookworm /nowhere:1\n\
        file:/archive/debian-security/ bookworm-security /nowhere:2\n";
    let mirror = parse_mirror(targets).unwrap();
    let kernels = crate::catalogue::chosen(&["5.10".to_owned()], false).unwrap();
    let expected = "deb file:/archive/debian/ bullseye main\n\
        deb file:/archive/debian-security/ bullseye-security main\n";
    assert_eq!(sources(&mirror, &kernels), expected);
    assert!(parse_mirror("file:/other/ubuntu/ noble /nowhere:1\n").is_none());
}

pub(crate) fn packages_of_other_suites_are_ignored() {
    let line = " linux-image-5.10.0-46-amd64 | 5.10.262-1 | file:/archive/debian-security \
        bullseye-security/main amd64 Packages";
    let package = parse_madison_line(line, &["bullseye", "bullseye-security"]).unwrap();
    assert_eq!(package.version, "5.10.262-1");
    assert_eq!(parse_madison_line(line, &["bookworm"]), None);
    assert_eq!(
        parse_madison_line(&line.replace("Packages", "Sources"), &["bullseye-security"]),
        None
    );
}
