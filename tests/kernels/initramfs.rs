//! The initramfs of a guest: an archive of the programs, equal for all boots, followed by an
//! archive of the work.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::guest_programs::GuestPrograms;
use crate::tools::busybox;
use crate::work::Work;

type Result<T> = std::result::Result<T, String>;

fn problem(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

/// Creates the archive of the programs.
pub(crate) fn programs(directory: &Path, programs: &GuestPrograms) -> Result<PathBuf> {
    let root = directory.join("root");
    let _ = fs::remove_dir_all(&root);
    for name in ["bin", "dev", "proc", "programs", "results", "sys", "tmp"] {
        fs::create_dir_all(root.join(name)).map_err(problem(&root))?;
    }
    put(&busybox(), &root.join("bin/busybox"))?;
    put(&programs.ringpoll, &root.join("programs/ringpoll"))?;
    put(&programs.conformance, &root.join("programs/conformance"))?;
    put(&programs.backends, &root.join("programs/backends"))?;
    put(&programs.io_uring_faults, &root.join("programs/io_uring_faults"))?;
    put(&programs.agent, &root.join("programs/agent"))?;
    let init = root.join("init");
    fs::write(&init, include_str!("guest/init")).map_err(problem(&init))?;
    fs::set_permissions(&init, Permissions::from_mode(0o755)).map_err(problem(&init))?;
    archive(&root, &directory.join("programs.cpio"))
}

/// Creates the initramfs of one kind of boot: the programs and the work.
pub(crate) fn with_work(programs: &Path, work: &Work, name: &str) -> Result<PathBuf> {
    let directory = programs.parent().expect("a file is in a directory");
    let root = directory.join(format!("work-{name}"));
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root).map_err(problem(&root))?;
    let json = serde_json::to_vec(work).expect("plain data");
    fs::write(root.join("work.json"), json).map_err(problem(&root))?;
    let small = archive(&root, &directory.join(format!("work-{name}.cpio")))?;
    // The kernel unpacks concatenated archives.
    let whole = directory.join(format!("{name}.cpio"));
    fs::copy(programs, &whole).map_err(problem(&whole))?;
    let mut file = fs::File::options().append(true).open(&whole).map_err(problem(&whole))?;
    let more = fs::read(&small).map_err(problem(&small))?;
    file.write_all(&more).map_err(problem(&whole))?;
    Ok(whole)
}

fn put(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).map_err(problem(from))
}

fn archive(root: &Path, file: &Path) -> Result<PathBuf> {
    let names = tree(root, root).map_err(problem(root))?.join("\n");
    let output = fs::File::create(file).map_err(problem(file))?;
    let mut cpio = Command::new("cpio")
        .args(["--quiet", "-o", "-H", "newc", "-R", "0:0"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(output)
        .spawn()
        .map_err(|error| format!("cpio: {error}"))?;
    let mut stdin = cpio.stdin.take().expect("it is piped");
    stdin.write_all(names.as_bytes()).map_err(|error| format!("cpio: {error}"))?;
    drop(stdin);
    let status = cpio.wait().map_err(|error| format!("cpio: {error}"))?;
    if status.success() { Ok(file.to_owned()) } else { Err(format!("cpio: {status}")) }
}

/// Returns all paths below a directory, each directory before its contents.
fn tree(root: &Path, directory: &Path) -> std::io::Result<Vec<String>> {
    let mut entries: Vec<_> = fs::read_dir(directory)?.collect::<std::io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.path();
        let name = path.strip_prefix(root).expect("it is below").to_string_lossy().into_owned();
        names.push(name);
        if entry.file_type()?.is_dir() {
            names.extend(tree(root, &path)?);
        }
    }
    Ok(names)
}
