//! Kernel images, extracted from their packages and cached.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::apt::{Apt, Package};
use crate::catalogue::Kernel;

/// A bootable kernel.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) kernel: Kernel,
    pub(crate) package: Package,
    pub(crate) file: PathBuf,
}

/// Returns the image of the newest package, and downloads it if it is not cached.
pub(crate) fn fetch(directory: &Path, apt: &Apt, kernel: &Kernel) -> Result<Image, String> {
    let mut package = apt.newest(kernel)?;
    let mut file = image_path(directory, &package);
    if !file.is_file() {
        println!("kernels · fetching {} {}", package.name, package.version);
        let archive = match apt.download(&package) {
            Ok(archive) => archive,
            // A security update has replaced it since the lists were fetched.
            Err(_) => {
                apt.update()?;
                package = apt.newest(kernel)?;
                file = image_path(directory, &package);
                apt.download(&package)?
            }
        };
        unpack(&archive, &file)?;
        let _ = fs::remove_file(archive);
    }
    Ok(Image { kernel: kernel.clone(), package, file })
}

fn image_path(directory: &Path, package: &Package) -> PathBuf {
    directory.join(format!("{}_{}.vmlinuz", package.name, package.version))
}

fn unpack(archive: &Path, file: &Path) -> Result<(), String> {
    let directory = file.parent().expect("a file is in a directory");
    fs::create_dir_all(directory).map_err(|error| error.to_string())?;
    let mut contents = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("dpkg-deb: {error}"))?;
    let pipe = contents.stdout.take().expect("it is piped");
    let mut tar = Command::new("tar");
    // Up to 6.18 the image is in /boot, from 6.19 on in the directory of its modules.
    tar.args(["-x", "-O", "--wildcards", "./boot/vmlinuz-*", "./usr/lib/modules/*/vmlinuz"]);
    // tar fails, because only one of the two patterns matches.
    let output = tar.stdin(pipe).output().map_err(|error| format!("tar: {error}"))?;
    let listed = contents.wait().map_err(|error| format!("dpkg-deb: {error}"))?;
    let is_image = output.stdout.get(0x202..0x206) == Some(b"HdrS");
    if !listed.success() || !is_image {
        return Err(format!("{}: no kernel image found", archive.display()));
    }
    let partial = file.with_extension("partial");
    fs::write(&partial, output.stdout).map_err(|error| format!("{}: {error}", file.display()))?;
    fs::rename(&partial, file).map_err(|error| format!("{}: {error}", file.display()))
}
