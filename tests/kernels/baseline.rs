//! The committed baseline of the path lengths, and the comparison with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::path_length::KernelLengths;

/// Relative change that passes: several times the spread between boots.
const TOLERANCE: f64 = 0.02;

/// Relative change that passes if the kernel is another build than that of the baseline.
const OTHER_BUILD_TOLERANCE: f64 = 0.10;

/// Command that rewrites the baseline.
const COMMAND: &str =
    "cargo test --test kernels -- --bounded --path-length --write-baseline --reason \"…\"";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    /// Reason for the last change of the baseline.
    reason: String,
    /// `rustc --version` of the compiler.
    compiler: String,
    kernels: BTreeMap<String, KernelBaseline>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KernelBaseline {
    package: String,
    package_version: String,
    instructions_per_request: BTreeMap<String, f64>,
}

/// Result of the comparison with the baseline.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) failures: Vec<String>,
    pub(crate) notes: Vec<String>,
    /// Number of kernels whose build is exactly that of the baseline.
    pub(crate) same_build: usize,
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels/path_length.toml")
}

impl Baseline {
    pub(crate) fn read() -> Result<Self, String> {
        let text = match fs::read_to_string(file()) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("{}: {error}", file().display())),
        };
        if text.is_empty() {
            return Ok(Self::default());
        }
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file().display()))
    }

    /// Writes the measured kernels into the baseline file; others keep their entries.
    pub(crate) fn rewrite(
        mut self,
        measured: &[KernelLengths],
        compiler: &str,
        reason: &str,
    ) -> Result<PathBuf, String> {
        (self.reason, self.compiler) = (reason.to_owned(), compiler.to_owned());
        for kernel in measured {
            let lengths = kernel.arms.iter();
            let instructions_a_request = lengths
                .map(|(arm, length)| (arm.clone(), length.instructions_per_request.round()))
                .collect();
            let (package, package_version) =
                (kernel.package.clone(), kernel.package_version.clone());
            let baseline = KernelBaseline {
                package,
                package_version,
                instructions_per_request: instructions_a_request,
            };
            self.kernels.insert(kernel.kernel.clone(), baseline);
        }
        let text = toml::to_string_pretty(&self).map_err(|error| error.to_string())?;
        let head = format!(
            "# Instructions per request by kernel, server and load: path length, not time. Written by\n\
             # {COMMAND}\n\n"
        );
        fs::write(file(), head + &text).map_err(|it| format!("{}: {it}", file().display()))?;
        Ok(file())
    }

    /// Compares `measured` with the baseline. `must_compare` requires at least one kernel of
    /// exactly the baseline's build: without one, only the larger tolerance applies.
    pub(crate) fn compare(
        &self,
        measured: &[KernelLengths],
        compiler: &str,
        must_compare: bool,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        if compiler != self.compiler {
            verdict.notes.push(format!(
                "the baseline was compiled by {}, this program by {compiler}: the compiler alone \
                 may change path lengths",
                self.compiler
            ));
        }
        for kernel in measured {
            match self.kernels.get(&kernel.kernel) {
                Some(baseline) => baseline.compare(kernel, &mut verdict),
                None => verdict
                    .failures
                    .push(format!("{}: not in the baseline; run `{COMMAND}`", kernel.kernel)),
            }
        }
        if must_compare && verdict.same_build == 0 {
            verdict.failures.push(format!(
                "no kernel has the build of the baseline, so the tolerance of {:.0} % is not \
                 checked; run `{COMMAND}`",
                TOLERANCE * 100.0
            ));
        }
        verdict
    }
}

impl KernelBaseline {
    fn compare(&self, measured: &KernelLengths, verdict: &mut Verdict) {
        let kernel = &measured.kernel;
        let is_exact = (&self.package, &self.package_version)
            == (&measured.package, &measured.package_version);
        let tolerance = if is_exact { TOLERANCE } else { OTHER_BUILD_TOLERANCE };
        verdict.same_build += usize::from(is_exact);
        if !is_exact {
            verdict.notes.push(format!(
                "OTHER BUILD: {kernel} is {}, the baseline has {}: the tolerance is {:.0} %",
                measured.package_version,
                self.package_version,
                tolerance * 100.0
            ));
        }
        for (arm, &baseline) in &self.instructions_per_request {
            let Some(length) = measured.arms.get(arm) else {
                verdict.failures.push(format!("{kernel}, {arm}: not measured"));
                continue;
            };
            let now = length.instructions_per_request;
            let change = now / baseline - 1.0;
            let text =
                format!("{kernel}, {arm}: {baseline:.0} → {now:.0} ({:+.2} %)", change * 100.0);
            if change > tolerance {
                verdict.failures.push(format!("LONGER: {text}; to accept it, run `{COMMAND}`"));
            } else if change < -tolerance {
                verdict.notes.push(format!("SHORTER: {text}; to keep it, run `{COMMAND}`"));
            }
        }
        for arm in
            measured.arms.keys().filter(|&it| !self.instructions_per_request.contains_key(it))
        {
            verdict.failures.push(format!("{kernel}, {arm}: not in the baseline; run `{COMMAND}`"));
        }
    }
}

pub(crate) fn longer_paths_fail_and_shorter_ones_are_noted() {
    use crate::path_length::Length;
    let measured = |instructions: f64, version: &str| {
        let length = Length {
            server: "v".to_owned(),
            load: "concurrency 1".to_owned(),
            instructions_per_request: instructions,
            spread: 0.0,
            per_boot: vec![instructions],
        };
        [KernelLengths {
            kernel: "k".to_owned(),
            package: "linux".to_owned(),
            package_version: version.to_owned(),
            boots: 1,
            arms: BTreeMap::from([("v, concurrency 1".to_owned(), length)]),
            problems: Vec::new(),
        }]
    };
    let kernel = KernelBaseline {
        package: "linux".to_owned(),
        package_version: "1".to_owned(),
        instructions_per_request: BTreeMap::from([("v, concurrency 1".to_owned(), 1000.0)]),
    };
    let baseline = Baseline {
        reason: "first".to_owned(),
        compiler: "c".to_owned(),
        kernels: BTreeMap::from([("k".to_owned(), kernel)]),
    };
    let verdict = |instructions, version| {
        let verdict = baseline.compare(&measured(instructions, version), "c", true);
        (verdict.failures.len(), verdict.notes.len())
    };
    assert_eq!(verdict(1000.0, "1"), (0, 0));
    assert_eq!(verdict(1019.0, "1"), (0, 0));
    assert_eq!(verdict(1021.0, "1"), (1, 0));
    assert_eq!(verdict(979.0, "1"), (0, 1));
    // Another build: noted, with the larger tolerance, and a failure if no build is the same.
    assert_eq!(verdict(1090.0, "2"), (1, 1));
    assert_eq!(verdict(1110.0, "2"), (2, 1));
    let other = baseline.compare(&measured(1000.0, "1"), "another", true);
    assert_eq!((other.failures.len(), other.notes.len()), (0, 1));
    let unknown = Baseline::default().compare(&measured(1000.0, "1"), "", false);
    assert_eq!(unknown.failures.len(), 1);
}
