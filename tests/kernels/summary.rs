//! The summary of the matrix, as JSON and as a table.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::image::Image;
use crate::work::{Observation, SuiteResult};

#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// `bounded`, `all`, or the names of the kernels.
    pub(crate) form: String,
    pub(crate) acceleration: &'static str,
    pub(crate) compiler: String,
    /// Seconds from the start of the first boot to the end of the last.
    pub(crate) took_s: f64,
    pub(crate) kernels: Vec<KernelSummary>,
}

#[derive(Debug, Serialize)]
pub(crate) struct KernelSummary {
    pub(crate) name: String,
    pub(crate) package: String,
    pub(crate) package_version: String,
    pub(crate) release: String,
    pub(crate) took_s: f64,
    pub(crate) observations: BTreeMap<String, Observation>,
    pub(crate) suites: Vec<SuiteResult>,
    pub(crate) problems: Vec<String>,
}

impl KernelSummary {
    pub(crate) fn new(image: &Image, took: Duration) -> Self {
        Self {
            name: image.kernel.name.clone(),
            package: image.package.name.clone(),
            package_version: image.package.version.clone(),
            release: String::new(),
            took_s: took.as_secs_f64(),
            observations: BTreeMap::new(),
            suites: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// Returns the backend that `serve --backend auto` chooses for root.
    fn auto(&self) -> String {
        let backend = self.observations.get("serve auto, root").and_then(|it| {
            it.stderr.iter().find_map(|line| line.strip_prefix("listening · ")?.split(" · ").next())
        });
        backend.unwrap_or("-").to_owned()
    }

    fn tests(&self, prefix: &str) -> String {
        let suites = self.suites.iter().filter(|suite| suite.name.starts_with(prefix));
        let (passed, failed, took) = suites.fold((0, 0, 0.0), |sum, suite| {
            (sum.0 + suite.passed, sum.1 + suite.failed, sum.2 + suite.took_s)
        });
        let failed = if failed > 0 { format!(", {failed} FAILED") } else { String::new() };
        format!("{passed} passed{failed} ({took:.0} s)")
    }
}

impl Summary {
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header([
            "kernel",
            "package",
            "auto",
            "conformance",
            "engines",
            "situations",
            "problems",
            "took",
        ]);
        for kernel in &self.kernels {
            table.add_row([
                kernel.name.clone(),
                format!("{}\n{}", kernel.release, kernel.package_version),
                kernel.auto(),
                kernel.tests("conformance"),
                kernel.tests("engines"),
                kernel.observations.len().to_string(),
                match kernel.problems.len() {
                    0 => "none".to_owned(),
                    count => format!("{count}: see below"),
                },
                format!("{:.0} s", kernel.took_s),
            ]);
        }
        table.to_string()
    }
}
