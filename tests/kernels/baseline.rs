//! The committed baseline of the path lengths, and what may become of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::path_length::KernelLengths;

/// How much longer a path may get unseen: several times what boots differ by.
const TOLERANCE: f64 = 0.02;

/// The same where the kernel is another build than the baseline's.
const TOLERANCE_OF_ANOTHER_BUILD: f64 = 0.10;

/// How the baseline is written again.
const COMMAND: &str =
    "cargo test --test kernels -- --bounded --path-length --write-baseline --reason \"…\"";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    /// Why it is as it is: what has changed since the one before.
    reason: String,
    /// What compiled the program.
    compiler: String,
    kernels: BTreeMap<String, KernelBaseline>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KernelBaseline {
    package: String,
    package_version: String,
    instructions_a_request: BTreeMap<String, f64>,
}

/// What the comparison says.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Why the run fails.
    pub(crate) failures: Vec<String>,
    /// What should be known.
    pub(crate) remarks: Vec<String>,
    /// How many kernels were of exactly the baseline's build.
    pub(crate) exact: usize,
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

    /// Takes over what was measured; kernels that were not stay as they are.
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
                .map(|(arm, length)| (arm.clone(), length.instructions_a_request.round()))
                .collect();
            let (package, package_version) =
                (kernel.package.clone(), kernel.package_version.clone());
            let baseline = KernelBaseline { package, package_version, instructions_a_request };
            self.kernels.insert(kernel.kernel.clone(), baseline);
        }
        let text = toml::to_string_pretty(&self).map_err(|error| error.to_string())?;
        let head = format!(
            "# Instructions a request by kernel, server and load: path length, not time. Written by\n\
             # {COMMAND}\n\n"
        );
        fs::write(file(), head + &text).map_err(|it| format!("{}: {it}", file().display()))?;
        Ok(file())
    }

    /// Holds what was measured to it. `must_compare` is whether at least one kernel has to be of
    /// exactly the baseline's build: otherwise nothing is held to 2 %.
    pub(crate) fn compare(
        &self,
        measured: &[KernelLengths],
        compiler: &str,
        must_compare: bool,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        if compiler != self.compiler {
            verdict.remarks.push(format!(
                "the baseline was compiled by {}, this program by {compiler}: the paths in it \
                 may differ for that alone",
                self.compiler
            ));
        }
        for kernel in measured {
            match self.kernels.get(&kernel.kernel) {
                Some(baseline) => baseline.compare(kernel, &mut verdict),
                None => verdict.failures.push(format!(
                    "{}: the baseline knows nothing of it; `{COMMAND}`",
                    kernel.kernel
                )),
            }
        }
        if must_compare && verdict.exact == 0 {
            verdict.failures.push(format!(
                "no kernel is of the baseline's build any more, so nothing is held to {:.0} %; \
                 `{COMMAND}`",
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
        let tolerance = if is_exact { TOLERANCE } else { TOLERANCE_OF_ANOTHER_BUILD };
        verdict.exact += usize::from(is_exact);
        if !is_exact {
            verdict.remarks.push(format!(
                "ANOTHER KERNEL: {kernel} is {} now, the baseline is of {}: held to {:.0} % alone",
                measured.package_version,
                self.package_version,
                tolerance * 100.0
            ));
        }
        for (arm, &baseline) in &self.instructions_a_request {
            let Some(length) = measured.arms.get(arm) else {
                verdict.failures.push(format!("{kernel}, {arm}: it was not measured"));
                continue;
            };
            let now = length.instructions_a_request;
            let change = now / baseline - 1.0;
            let words =
                format!("{kernel}, {arm}: {baseline:.0} → {now:.0} ({:+.2} %)", change * 100.0);
            if change > tolerance {
                verdict.failures.push(format!("LONGER: {words}; if it is worth it, `{COMMAND}`"));
            } else if change < -tolerance {
                verdict.remarks.push(format!("SHORTER: {words}; keep it: `{COMMAND}`"));
            }
        }
        for arm in measured.arms.keys().filter(|&it| !self.instructions_a_request.contains_key(it))
        {
            verdict.failures.push(format!("{kernel}, {arm}: not in the baseline; `{COMMAND}`"));
        }
    }
}

pub(crate) fn a_longer_path_fails_and_a_shorter_one_is_told() {
    use crate::path_length::Length;
    let measured = |instructions: f64, version: &str| {
        let length = Length {
            server: "v".to_owned(),
            load: "1 at once".to_owned(),
            instructions_a_request: instructions,
            spread: 0.0,
            each_boot: vec![instructions],
        };
        [KernelLengths {
            kernel: "k".to_owned(),
            package: "linux".to_owned(),
            package_version: version.to_owned(),
            boots: 1,
            arms: BTreeMap::from([("v, 1 at once".to_owned(), length)]),
            problems: Vec::new(),
        }]
    };
    let kernel = KernelBaseline {
        package: "linux".to_owned(),
        package_version: "1".to_owned(),
        instructions_a_request: BTreeMap::from([("v, 1 at once".to_owned(), 1000.0)]),
    };
    let baseline = Baseline {
        reason: "first".to_owned(),
        compiler: "c".to_owned(),
        kernels: BTreeMap::from([("k".to_owned(), kernel)]),
    };
    let verdict = |instructions, version| {
        let verdict = baseline.compare(&measured(instructions, version), "c", true);
        (verdict.failures.len(), verdict.remarks.len())
    };
    assert_eq!(verdict(1000.0, "1"), (0, 0));
    assert_eq!(verdict(1019.0, "1"), (0, 0));
    assert_eq!(verdict(1021.0, "1"), (1, 0));
    assert_eq!(verdict(979.0, "1"), (0, 1));
    // Another build: said, held to ten percent, and a failure where nothing else is compared.
    assert_eq!(verdict(1090.0, "2"), (1, 1));
    assert_eq!(verdict(1110.0, "2"), (2, 1));
    let other = baseline.compare(&measured(1000.0, "1"), "another", true);
    assert_eq!((other.failures.len(), other.remarks.len()), (0, 1));
    let unknown = Baseline::default().compare(&measured(1000.0, "1"), "", false);
    assert_eq!(unknown.failures.len(), 1);
}
