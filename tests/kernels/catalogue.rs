//! The kernels of `kernels.toml`.

use serde::Deserialize;

/// The runs that a kernel belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Set {
    /// Every run.
    Bounded,
    /// Only runs with `--all`.
    All,
    /// Only runs that name it.
    Optional,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kernel {
    /// Identifies its expectations and its baseline.
    pub(crate) name: String,
    /// `bullseye`, or `security:bullseye-security` in the archive of security updates.
    pub(crate) suites: Vec<String>,
    /// Regular expression that matches package names.
    pub(crate) package: String,
    pub(crate) set: Set,
}

#[derive(Deserialize)]
struct Catalogue {
    kernel: Vec<Kernel>,
}

/// Returns all kernels, in the order of the file.
pub(crate) fn kernels() -> Vec<Kernel> {
    let catalogue: Catalogue =
        toml::from_str(include_str!("kernels.toml")).expect("kernels.toml is valid");
    catalogue.kernel
}

/// Returns the kernels with these names, or without names those of the bounded or the full run.
pub(crate) fn chosen(names: &[String], all: bool) -> Result<Vec<Kernel>, String> {
    let kernels = kernels();
    if let Some(unknown) = names.iter().find(|it| !kernels.iter().any(|kernel| kernel.name == **it))
    {
        let known: Vec<_> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
        return Err(format!("unknown kernel {unknown}; known are {}", known.join(", ")));
    }
    let is_chosen = |kernel: &Kernel| match kernel.set {
        _ if !names.is_empty() => names.contains(&kernel.name),
        Set::Bounded => true,
        Set::All => all,
        Set::Optional => false,
    };
    Ok(kernels.into_iter().filter(is_chosen).collect())
}

pub(crate) fn runs_select_the_kernels_of_their_set() {
    let names = |names: &[&str], all| -> Vec<String> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        chosen(&names, all).unwrap().into_iter().map(|kernel| kernel.name).collect()
    };
    assert_eq!(names(&[], false), ["5.10", "6.1", "newest"]);
    assert_eq!(names(&[], true), ["5.10", "6.1", "6.12", "6.18", "newest"]);
    assert_eq!(names(&["6.12-rt"], false), ["6.12-rt"]);
    assert!(chosen(&["2.6".to_owned()], false).unwrap_err().contains("5.10"));
    for kernel in kernels() {
        regex_lite::Regex::new(&kernel.package).unwrap();
        crate::expectations::read(&kernel.name).unwrap();
    }
}
