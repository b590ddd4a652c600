//! Known kernel faults, by version. Only shown to people: no decision of the program depends on a
//! version.

use super::diagnosis::KnownFault;

/// Kernel release, ordered by version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    major: u32,
    minor: u32,
    patch: u32,
    /// Number of the release candidate; `u32::MAX` for the release itself.
    candidate: u32,
}

impl Release {
    /// Creates a release, which is no release candidate.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch, candidate: u32::MAX }
    }

    const fn candidate(mut self, number: u32) -> Self {
        self.candidate = number;
        self
    }

    /// Parses the output of `uname -r`, such as `6.12.48+deb13-amd64` or `6.8.0-rc3`.
    pub fn parse(release: &str) -> Option<Self> {
        let numbers = release.split(['-', '+', '_', '~']).next()?;
        let mut numbers = numbers.split('.').map(|number| number.parse().ok());
        let (major, minor) = (numbers.next()??, numbers.next()??);
        let patch = numbers.next().flatten().unwrap_or(0);
        let digits = release.split_once("-rc").map(|(_, suffix)| {
            suffix.split(|it: char| !it.is_ascii_digit()).next().unwrap_or_default()
        });
        let candidate = digits.and_then(|digits| digits.parse().ok()).unwrap_or(u32::MAX);
        Some(Self { major, minor, patch, candidate })
    }
}

struct FaultRange {
    /// First release with the fault.
    from: Release,
    /// First later release without it.
    until: Release,
    versions: &'static str,
    fault: &'static str,
    remedy: &'static str,
    reference: &'static str,
}

const KNOWN_FAULTS: &[FaultRange] = &[
    FaultRange {
        from: Release::new(6, 1, 0),
        until: Release::new(6, 12, 0),
        versions: "6.1 to 6.11",
        fault: "IOSQE_IO_LINK with IOSQE_CQE_SKIP_SUCCESS under IORING_SETUP_DEFER_TASKRUN can hang",
        remedy: "do not use the three together",
        reference: "https://github.com/axboe/liburing/issues/1235",
    },
    FaultRange {
        from: Release::new(6, 4, 0),
        until: Release::new(6, 6, 5),
        versions: "6.4 to 6.6.4",
        fault: "CVE-2024-0582: memory of a provided buffer ring can be used after it was freed",
        remedy: "upgrade: any program on this machine that may use io_uring can become root",
        reference: "https://nvd.nist.gov/vuln/detail/CVE-2024-0582",
    },
    FaultRange {
        from: Release::new(6, 6, 1),
        until: Release::new(6, 8, 0).candidate(4),
        versions: "6.6.1 to 6.8-rc3",
        fault: "a multishot accept under IORING_SETUP_DEFER_TASKRUN can lose connections",
        remedy: "do not use the two together",
        reference: "https://github.com/axboe/liburing/issues/1062",
    },
    FaultRange {
        from: Release::new(6, 13, 11),
        until: Release::new(6, 14, 9),
        versions: "6.13.11 to 6.14.8",
        fault: "receive bundles can hand over data out of order",
        remedy: "do not use receive bundles",
        reference: "https://github.com/axboe/liburing/issues/1409",
    },
    FaultRange {
        from: Release::new(6, 16, 0),
        until: Release::new(7, 2, 0),
        versions: "6.16 to 7.1",
        fault: "an unprivileged ring with 1,024 entries fails with ENOMEM where RLIMIT_MEMLOCK is \
                64 KiB",
        remedy: "use shorter queues, raise the limit, or set up the ring before dropping \
                 privileges",
        reference: "observed on these kernels; 5.10 to 6.12 and 7.2 are not affected",
    },
];

/// Returns the known faults of a kernel with this `uname -r`.
pub fn known_faults(release: &str) -> Vec<KnownFault> {
    let Some(release) = Release::parse(release) else { return Vec::new() };
    let known = KNOWN_FAULTS.iter().filter(|row| row.from <= release && release < row.until);
    known
        .map(|row| KnownFault {
            versions: row.versions.to_owned(),
            fault: row.fault.to_owned(),
            remedy: row.remedy.to_owned(),
            reference: row.reference.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(release: &str) -> Vec<String> {
        let end = |it: KnownFault| it.reference.rsplit(['/', '-']).next().unwrap().to_owned();
        known_faults(release).into_iter().map(end).collect()
    }

    #[test]
    fn fault_ranges_have_exact_bounds() {
        assert_eq!(references("5.10.0-36-amd64"), [""; 0]);
        assert_eq!(references("6.1.0-40-amd64"), ["1235"]);
        assert_eq!(references("6.6.0"), ["1235", "0582"]);
        assert_eq!(references("6.6.4"), ["1235", "0582", "1062"]);
        assert_eq!(references("6.6.5"), ["1235", "1062"]);
        assert_eq!(references("6.8.0-rc3"), ["1235", "1062"]);
        assert_eq!(references("6.8.0-rc4"), ["1235"]);
        assert_eq!(references("6.12.48+deb13-amd64"), [""; 0]);
        assert_eq!(references("6.13.10"), [""; 0]);
        assert_eq!(references("6.14.8"), ["1409"]);
        assert_eq!(references("6.14.9"), [""; 0]);
        assert_eq!(known_faults("6.18.44").len(), 1);
        assert_eq!(known_faults("7.2.0").len(), 0);
    }

    #[test]
    fn distribution_release_names_are_parsed() {
        assert_eq!(Release::parse("6.18.5-fc-v1"), Some(Release::new(6, 18, 5)));
        assert_eq!(Release::parse("7.1"), Some(Release::new(7, 1, 0)));
        assert!(Release::parse("6.8.0-rc3") < Release::parse("6.8.0"));
        assert_eq!(Release::parse("unknown"), None);
    }
}
