//! The files of a guest, as an archive that the kernel unpacks at its start: the programs, which
//! are the same for every boot, and behind them the work, which is not.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::payload::Payload;
use crate::tools::busybox;
use crate::work::Work;

type Result<T> = std::result::Result<T, String>;

fn problem(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

/// The archive of the programs.
pub(crate) fn programs(directory: &Path, payload: &Payload) -> Result<PathBuf> {
    let root = directory.join("root");
    let _ = fs::remove_dir_all(&root);
    for name in ["bin", "dev", "payload", "proc", "results", "sys", "tmp"] {
        fs::create_dir_all(root.join(name)).map_err(problem(&root))?;
    }
    put(&busybox(), &root.join("bin/busybox"))?;
    put(&payload.ringpoll, &root.join("payload/ringpoll"))?;
    put(&payload.conformance, &root.join("payload/conformance"))?;
    put(&payload.backends, &root.join("payload/backends"))?;
    put(&payload.agent, &root.join("payload/agent"))?;
    let init = root.join("init");
    fs::write(&init, include_str!("guest/init")).map_err(problem(&init))?;
    fs::set_permissions(&init, Permissions::from_mode(0o755)).map_err(problem(&init))?;
    // The tests know these two by the paths that they had when they were compiled.
    let expected = within(&root, &payload.ringpoll_expected_at);
    fs::create_dir_all(expected.parent().expect("it has one")).map_err(problem(&expected))?;
    symlink("/payload/ringpoll", &expected).map_err(problem(&expected))?;
    let working = within(&root, &payload.working_directory);
    fs::create_dir_all(&working).map_err(problem(&working))?;
    archive(&root, &directory.join("programs.cpio"))
}

/// The whole archive of one kind of boot: the programs, and the work.
pub(crate) fn with_work(programs: &Path, work: &Work, name: &str) -> Result<PathBuf> {
    let directory = programs.parent().expect("it is in a directory");
    let root = directory.join(format!("work-{name}"));
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root).map_err(problem(&root))?;
    let json = serde_json::to_vec(work).expect("it is plain data");
    fs::write(root.join("work.json"), json).map_err(problem(&root))?;
    let small = archive(&root, &directory.join(format!("work-{name}.cpio")))?;
    // The kernel unpacks archives that follow each other one after the other.
    let whole = directory.join(format!("{name}.cpio"));
    fs::copy(programs, &whole).map_err(problem(&whole))?;
    let mut file = fs::File::options().append(true).open(&whole).map_err(problem(&whole))?;
    let more = fs::read(&small).map_err(problem(&small))?;
    file.write_all(&more).map_err(problem(&whole))?;
    Ok(whole)
}

fn within(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").expect("cargo names absolute paths"))
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

/// Everything below a directory, each directory before what is in it.
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
