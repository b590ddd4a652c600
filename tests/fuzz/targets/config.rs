//! The configuration: whatever a file, the environment and flags say, it is one clear error or a
//! configuration that can be written down and read again.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use ringpoll::config::{FlagSetting, Layers, Loaded, Preset, Sources, check_file, load};
use rustix::fs::{MemfdFlags, memfd_create};
use toml::{Table, Value};

/// A file of these bytes, for as long as the handle lives.
fn file_of(bytes: &[u8]) -> (File, PathBuf) {
    let file = memfd_create("config", MemfdFlags::CLOEXEC).expect("memory for a file");
    let mut file = File::from(file);
    file.write_all(bytes).expect("memory for a file");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    (file, path)
}

/// Both sides of `NAME=VALUE`, line by line.
fn pairs(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    bytes.split(|&byte| byte == b'\n').filter_map(|line| {
        let place = line.iter().position(|&byte| byte == b'=')?;
        Some((&line[..place], &line[place + 1..]))
    })
}

/// A file, and behind the first zero byte lines for the environment, and behind the second lines
/// for flags; a third stands for `--preset documents`.
pub fn config(bytes: &[u8]) {
    let mut parts = bytes.splitn(4, |&byte| byte == 0);
    let (_file, path) = file_of(parts.next().unwrap_or_default());
    let environment = pairs(parts.next().unwrap_or_default())
        .map(|(name, value)| (OsStr::from_bytes(name).into(), OsStr::from_bytes(value).into()));
    let environment = environment.collect();
    let flags = pairs(parts.next().unwrap_or_default()).map(|(key, value)| FlagSetting {
        flag: "--set",
        key: String::from_utf8_lossy(key).into_owned(),
        value: String::from_utf8_lossy(value).into_owned(),
    });
    let flags = flags.collect();
    let preset = parts.next().map(|_| Preset::Documents);
    match load(&Sources { flags, environment, file: Some(path), preset }) {
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty(), "an error has words");
            assert!(!text.contains('\n'), "an error is one line: {text:?}");
        }
        Ok(loaded) => is_the_same_when_read_again(&loaded),
    }
}

fn is_the_same_when_read_again(loaded: &Loaded) {
    let text = as_a_file(&loaded.layers);
    let (_file, path) = file_of(text.as_bytes());
    let again = check_file(&path).unwrap_or_else(|error| panic!("{error}, in:\n{text}"));
    assert_eq!(as_a_file(&again.layers), text);
}

fn as_a_file(layers: &Layers) -> String {
    let mut root = Table::new();
    for setting in layers.iter() {
        let (section, name) = match setting.key.name.split_once('.') {
            Some((section, name)) => {
                let section = root.entry(section).or_insert_with(|| Value::Table(Table::new()));
                (section.as_table_mut().expect("a section is no key"), name)
            }
            None => (&mut root, setting.key.name),
        };
        section.insert(name.to_owned(), setting.value.clone());
    }
    root.to_string()
}
