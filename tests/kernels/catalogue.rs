//! The kernels of `kernels.toml`.

use serde::Deserialize;

/// Which runs a kernel belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Set {
    /// Every run.
    Bounded,
    /// The long run alone.
    All,
    /// None, unless it is named.
    Optional,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kernel {
    /// Under which it has an expectation and a baseline.
    pub(crate) name: String,
    /// `bullseye`, or `security:bullseye-security` where it is in the other archive.
    pub(crate) suites: Vec<String>,
    /// Matches the names of packages (regular expression).
    pub(crate) package: String,
    pub(crate) set: Set,
}

#[derive(Deserialize)]
struct Catalogue {
    kernel: Vec<Kernel>,
}

/// All of them, in the order of the file.
pub(crate) fn kernels() -> Vec<Kernel> {
    let catalogue: Catalogue =
        toml::from_str(include_str!("kernels.toml")).expect("kernels.toml is valid");
    catalogue.kernel
}

/// Those of these names, or of the bounded run, or of the long one.
pub(crate) fn chosen(names: &[String], all: bool) -> Result<Vec<Kernel>, String> {
    let kernels = kernels();
    if let Some(unknown) = names.iter().find(|it| !kernels.iter().any(|kernel| kernel.name == **it))
    {
        let known: Vec<_> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
        return Err(format!("no kernel is called {unknown}; there are {}", known.join(", ")));
    }
    let is_chosen = |kernel: &Kernel| match kernel.set {
        _ if !names.is_empty() => names.contains(&kernel.name),
        Set::Bounded => true,
        Set::All => all,
        Set::Optional => false,
    };
    Ok(kernels.into_iter().filter(is_chosen).collect())
}

pub(crate) fn a_run_has_the_kernels_of_its_set() {
    let names = |asked: &[&str], all| -> Vec<String> {
        let asked: Vec<_> = asked.iter().map(|&name| name.to_owned()).collect();
        chosen(&asked, all).unwrap().into_iter().map(|kernel| kernel.name).collect()
    };
    assert_eq!(names(&[], false), ["5.10", "6.1", "newest"]);
    assert_eq!(names(&[], true), ["5.10", "6.1", "6.12", "6.18", "newest"]);
    assert_eq!(names(&["6.12-rt"], false), ["6.12-rt"]);
    assert!(chosen(&["2.6".to_owned()], false).unwrap_err().contains("5.10"));
    for kernel in kernels() {
        regex_lite::Regex::new(&kernel.package).unwrap();
    }
}
