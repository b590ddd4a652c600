//! Build options of the kernel.

use std::fs::{self, File};
use std::io::Read;

use flate2::read::GzDecoder;

/// Reads names and values, such as `CONFIG_HZ` and `250`, from /proc/config.gz, or from /boot as
/// distributions have it. Returns `None` if neither can be read.
pub fn options(release: &str) -> Option<Vec<(String, String)>> {
    let from_kernel = || {
        let mut text = String::new();
        GzDecoder::new(File::open("/proc/config.gz").ok()?).read_to_string(&mut text).ok()?;
        Some(text)
    };
    let text = from_kernel().or_else(|| fs::read_to_string(format!("/boot/config-{release}")).ok());
    let option = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    text.map(|text| text.lines().filter_map(option).collect())
}
