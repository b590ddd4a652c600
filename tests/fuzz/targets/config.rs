//! Configuration: any file, environment and flags give an error of one line, or a configuration
//! that survives a round trip through a file.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use ringpoll::config::{FlagSetting, Layers, Loaded, Preset, Sources, check_file, load};
use rustix::fs::{MemfdFlags, memfd_create};
use toml::{Table, Value};

/// Creates a file with these bytes, which exists as long as the handle.
fn create_file(bytes: &[u8]) -> (File, PathBuf) {
    let file = memfd_create("config", MemfdFlags::CLOEXEC).expect("memory for a file");
    let mut file = File::from(file);
    file.write_all(bytes).expect("memory for a file");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    (file, path)
}

/// Splits lines of the form `NAME=VALUE`.
fn pairs(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    bytes.split(|&byte| byte == b'\n').filter_map(|line| {
        let equals = line.iter().position(|&byte| byte == b'=')?;
        Some((&line[..equals], &line[equals + 1..]))
    })
}

/// Loads a configuration from a file, lines for the environment and lines for flags, which are
/// separated by zero bytes. A third zero byte means `--preset reference`.
pub fn config(bytes: &[u8]) {
    let mut parts = bytes.splitn(4, |&byte| byte == 0);
    let (_file, path) = create_file(parts.next().unwrap_or_default());
    let environment = pairs(parts.next().unwrap_or_default())
        .map(|(name, value)| (OsStr::from_bytes(name).into(), OsStr::from_bytes(value).into()));
    let environment = environment.collect();
    let flags = pairs(parts.next().unwrap_or_default()).map(|(key, value)| FlagSetting {
        flag: "--set",
        key: String::from_utf8_lossy(key).into_owned(),
        value: String::from_utf8_lossy(value).into_owned(),
    });
    let flags = flags.collect();
    let preset = parts.next().map(|_| Preset::Reference);
    match load(&Sources { flags, environment, file: Some(path), preset }) {
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty(), "the error is empty");
            assert!(!text.contains('\n'), "the error has several lines: {text:?}");
        }
        Ok(loaded) => check_round_trip(&loaded),
    }
}

fn check_round_trip(loaded: &Loaded) {
    let text = to_toml(&loaded.layers);
    let (_file, path) = create_file(text.as_bytes());
    let again = check_file(&path).unwrap_or_else(|error| panic!("{error}, in:\n{text}"));
    assert_eq!(to_toml(&again.layers), text);
}

fn to_toml(layers: &Layers) -> String {
    let mut root = Table::new();
    for setting in layers.iter() {
        let (section, name) = match setting.key.name.split_once('.') {
            Some((section, name)) => {
                let section = root.entry(section).or_insert_with(|| Value::Table(Table::new()));
                (section.as_table_mut().expect("a section is a table"), name)
            }
            None => (&mut root, setting.key.name),
        };
        section.insert(name.to_owned(), setting.value.clone());
    }
    root.to_string()
}
