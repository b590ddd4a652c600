//! The image of a kernel: out of its package, and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::apt::{Apt, Package};
use crate::catalogue::Kernel;

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) kernel: Kernel,
    pub(crate) package: Package,
    pub(crate) file: PathBuf,
}

/// The image of the newest package, fetched unless it is there already.
pub(crate) fn fetch(directory: &Path, apt: &Apt, kernel: &Kernel) -> Result<Image, String> {
    let mut package = apt.newest(kernel)?;
    let mut file = kept_at(directory, &package);
    if !file.is_file() {
        println!("kernels · fetching {} {}", package.name, package.version);
        let archive = match apt.download(&package) {
            Ok(archive) => archive,
            // A security update has taken its place since the lists were fetched.
            Err(_) => {
                apt.update()?;
                package = apt.newest(kernel)?;
                file = kept_at(directory, &package);
                apt.download(&package)?
            }
        };
        unpack(&archive, &file)?;
        let _ = fs::remove_file(archive);
    }
    Ok(Image { kernel: kernel.clone(), package, file })
}

fn kept_at(directory: &Path, package: &Package) -> PathBuf {
    directory.join(format!("{}_{}.vmlinuz", package.name, package.version))
}

fn unpack(archive: &Path, file: &Path) -> Result<(), String> {
    let directory = file.parent().expect("it is in a directory");
    fs::create_dir_all(directory).map_err(|error| error.to_string())?;
    let mut contents = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("dpkg-deb: {error}"))?;
    let pipe = contents.stdout.take().expect("it is piped");
    let mut tar = Command::new("tar");
    // Until 6.18 it is in /boot, from 6.19 on beside its modules.
    tar.args(["-x", "-O", "--wildcards", "./boot/vmlinuz-*", "./usr/lib/modules/*/vmlinuz"]);
    // Only one of the two is there, which tar takes for an error.
    let output = tar.stdin(pipe).output().map_err(|error| format!("tar: {error}"))?;
    let listed = contents.wait().map_err(|error| format!("dpkg-deb: {error}"))?;
    let is_image = output.stdout.get(0x202..0x206) == Some(b"HdrS");
    if !listed.success() || !is_image {
        return Err(format!("{}: there is no kernel in it", archive.display()));
    }
    let partial = file.with_extension("partial");
    fs::write(&partial, output.stdout).map_err(|error| format!("{}: {error}", file.display()))?;
    fs::rename(&partial, file).map_err(|error| format!("{}: {error}", file.display()))
}
