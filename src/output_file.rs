//! Output files of a measurement: opened before it starts, written when it has ended.
//!
//! A measurement takes minutes. A path that cannot be written is refused before that time is
//! spent, and a result that cannot be written at the end goes to the temporary directory.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, fstat, stat};

use crate::failure::Failure;

/// The end of a name that is kept there. File systems limit names to 255 bytes, some to less.
const MAX_KEPT_NAME_BYTES: usize = 100;

/// An output that is open for writing.
#[derive(Debug)]
pub struct OutputFile {
    flag: &'static str,
    path: PathBuf,
    /// `None` is standard output.
    file: Option<File>,
    /// A file that did not exist before: it is removed if nothing is written to it.
    created: Option<PathBuf>,
}

impl OutputFile {
    /// Opens `path`, or standard output for `-` and for a path such as /dev/stdout. An existing
    /// file keeps its content until [`Self::write_or_rescue`]. `flag` names the option in
    /// messages, such as `--json`.
    ///
    /// # Errors
    /// Returns a usage failure if the file cannot be opened for writing.
    pub fn open(flag: &'static str, path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") || is_standard_output(path) {
            return Ok(Self { flag, path: path.to_owned(), file: None, created: None });
        }
        let (file, created) = open_or_create(path).map_err(|error| {
            Failure::Usage(format!(
                "ringpoll: {flag} {}: cannot open for writing: {error}. Choose a file in an \
                 existing, writable directory.",
                path.display()
            ))
        })?;
        Ok(Self { flag, path: path.to_owned(), file: Some(file), created })
    }

    /// Opens the output of a flag, if it is given; see [`Self::open`].
    ///
    /// # Errors
    /// Returns a usage failure if the file cannot be opened for writing.
    pub fn open_optional(
        flag: &'static str,
        path: Option<&PathBuf>,
    ) -> Result<Option<Self>, Failure> {
        path.map(|path| Self::open(flag, path)).transpose()
    }

    /// Refuses outputs that are the same regular file or standard output, where they would be
    /// mixed or one would replace the other.
    ///
    /// # Errors
    /// Returns a usage failure that names both options.
    pub fn check_distinct(outputs: &[&Option<Self>]) -> Result<(), Failure> {
        let outputs: Vec<&Self> = outputs.iter().copied().flatten().collect();
        for (index, one) in outputs.iter().enumerate() {
            for other in &outputs[index + 1..] {
                let id = one.regular_file();
                let is_same_file = id.is_some() && id == other.regular_file();
                let is_same =
                    is_same_file || one.is_standard_output() && other.is_standard_output();
                if !is_same {
                    continue;
                }
                return Err(Failure::Usage(format!(
                    "ringpoll: {} and {} are the same file, {}. Choose two files.",
                    one.flag,
                    other.flag,
                    other.path.display()
                )));
            }
        }
        Ok(())
    }

    /// Refuses to replace one of the files that the command reads.
    ///
    /// # Errors
    /// Returns a usage failure that names the option and the file.
    pub fn check_no_input(&self, inputs: &[PathBuf]) -> Result<(), Failure> {
        let id = self.regular_file();
        let is_this = |input: &PathBuf| {
            id.is_some() && fs::metadata(input).is_ok_and(|it| Some((it.dev(), it.ino())) == id)
        };
        if !inputs.iter().any(is_this) {
            return Ok(());
        }
        Err(Failure::Usage(format!(
            "ringpoll: {} {}: this would replace a result that is read. Choose another file.",
            self.flag,
            self.path.display()
        )))
    }

    /// Returns the device and inode of a regular file.
    fn regular_file(&self) -> Option<(u64, u64)> {
        let metadata = self.file.as_ref()?.metadata().ok()?;
        metadata.is_file().then(|| (metadata.dev(), metadata.ino()))
    }

    /// Returns true if the output goes to standard output.
    pub fn is_standard_output(&self) -> bool {
        self.file.is_none()
    }

    /// Replaces the content of the file with `text`. If that fails, for example on a full disk,
    /// writes `text` to a new file in the temporary directory instead.
    ///
    /// # Errors
    /// Returns a failure that names the file in the temporary directory. A closed pipe on standard
    /// output is not an error.
    pub fn write_or_rescue(mut self, text: &str) -> Result<(), Failure> {
        match self.write(text.as_bytes()) {
            Ok(()) => {
                self.created = None;
                Ok(())
            }
            Err(error) if self.is_standard_output() && error.kind() == ErrorKind::BrokenPipe => {
                Ok(())
            }
            Err(error) => {
                let rescued = match rescue(&self.path, text.as_bytes()) {
                    Ok(path) => format!("The result was saved to {} instead.", path.display()),
                    Err(error) => format!("Saving it to the temporary directory failed: {error}."),
                };
                let path = self.path.display();
                let message = format!("ringpoll: {} {path}: {error}. {rescued}", self.flag);
                Err(Failure::Run(message))
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            let mut output = io::stdout().lock();
            return output.write_all(bytes).and_then(|()| output.flush());
        };
        // Devices and pipes can be neither truncated nor synchronised.
        let is_regular = file.metadata()?.is_file();
        if is_regular {
            file.set_len(0)?;
        }
        file.write_all(bytes)?;
        // Network file systems may report a full disk or quota only now (fsync(2), EDQUOT).
        if is_regular { file.sync_data() } else { Ok(()) }
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(path) = &self.created {
            let _ = fs::remove_file(path);
        }
    }
}

/// Returns true if `path` is the file, pipe or socket that is standard output. A file that is
/// opened again is written from its start, over what has been written to standard output.
fn is_standard_output(path: &Path) -> bool {
    let (Ok(named), Ok(standard)) = (stat(path), fstat(rustix::stdio::stdout())) else {
        return false;
    };
    FileType::from_raw_mode(named.st_mode) != FileType::CharacterDevice
        && (named.st_dev, named.st_ino) == (standard.st_dev, standard.st_ino)
}

/// Opens a file for writing. Returns its path too if it did not exist; of a symbolic link, this is
/// the path of the target.
fn open_or_create(path: &Path) -> io::Result<(File, Option<PathBuf>)> {
    match File::create_new(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        created => return created.map(|file| (file, Some(path.to_owned()))),
    }
    match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let target = fs::read_link(path)?;
            open_or_create(&path.parent().unwrap_or(path).join(target))
        }
        opened => opened.map(|file| (file, None)),
    }
}

/// Writes to a new file in the temporary directory and returns its path.
fn rescue(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let name = path.file_name().filter(|name| *name != "-").unwrap_or("result".as_ref());
    let name = name.to_string_lossy();
    // The end has the extension.
    let start = name.len().saturating_sub(MAX_KEPT_NAME_BYTES);
    let name = name.char_indices().find(|it| it.0 >= start).map_or("", |it| &name[it.0..]);
    let suffix = format!("-{name}");
    // Those of an ordinary result, since the user may not be the one that measured.
    let permissions = Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new()
        .prefix("ringpoll-")
        .suffix(&suffix)
        .permissions(permissions)
        .tempfile()?;
    file.write_all(bytes)?;
    Ok(file.into_temp_path().keep()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use tempfile::TempDir;

    #[test]
    fn unwritable_path_is_a_usage_error_that_names_flag_and_path() {
        let directory = TempDir::new().unwrap();
        for path in [directory.path().join("absent/x.json"), directory.path().to_owned()] {
            let failure = OutputFile::open("--json", &path).unwrap_err();
            assert_eq!(failure.exit_code(), 2);
            let expected = format!("ringpoll: --json {}: cannot open", path.display());
            assert!(failure.to_string().starts_with(&expected), "{failure}");
        }
    }

    #[test]
    fn existing_content_is_replaced_only_when_the_result_is_written() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("result.json");
        fs::write(&path, "a longer old result").unwrap();
        drop(OutputFile::open("--json", &path).unwrap());
        let output = OutputFile::open("--json", &path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a longer old result");
        output.write_or_rescue("new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn new_file_is_removed_if_nothing_is_written() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("result.json");
        drop(OutputFile::open("--json", &path).unwrap());
        assert!(!path.exists());
        OutputFile::open("--json", &path).unwrap().write_or_rescue("new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn target_of_a_dangling_link_is_removed_if_nothing_is_written() {
        let directory = TempDir::new().unwrap();
        let [link, other, target] = ["link", "other", "target"].map(|it| directory.path().join(it));
        symlink("other", &link).unwrap();
        symlink(&target, &other).unwrap();
        drop(OutputFile::open("--json", &link).unwrap());
        assert!(!target.exists() && link.is_symlink() && other.is_symlink());
        OutputFile::open("--json", &link).unwrap().write_or_rescue("new").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    }

    #[test]
    fn rescued_file_keeps_the_end_of_a_long_name() {
        for name in ["a".repeat(250) + ".json", "µ".repeat(120) + ".json"] {
            let rescued = rescue(Path::new(&name), b"a result").unwrap();
            assert_eq!(rescued.extension().unwrap(), "json");
            assert_eq!(fs::read_to_string(&rescued).unwrap(), "a result");
            fs::remove_file(rescued).unwrap();
        }
    }

    #[test]
    fn two_outputs_cannot_be_the_same_file() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("result");
        let open = |flag, path: &Path| Some(OutputFile::open(flag, path).unwrap());
        let (json, html) = (open("--json", &path), open("--html", &path));
        let failure = OutputFile::check_distinct(&[&json, &None, &html]).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        let expected = "ringpoll: --json and --html are the same file, ";
        assert!(failure.to_string().starts_with(expected), "{failure}");
        let other = open("--html", &directory.path().join("other"));
        OutputFile::check_distinct(&[&json, &other]).unwrap();
        let [standard, null] = ["-", "/dev/null"].map(|path| open("--html", Path::new(path)));
        OutputFile::check_distinct(&[&standard, &json, &null, &null]).unwrap();
        OutputFile::check_distinct(&[&standard, &json, &standard]).unwrap_err();
        let (json, other) = (json.unwrap(), other.unwrap());
        json.check_no_input(&[path]).unwrap_err();
        other.check_no_input(&["-".into(), "/dev/null".into()]).unwrap();
    }

    #[test]
    fn full_disk_moves_the_result_to_the_temporary_directory() {
        let output = OutputFile::open("--html", Path::new("/dev/full")).unwrap();
        let failure = output.write_or_rescue("a result").unwrap_err();
        assert_eq!(failure.exit_code(), 1);
        let message = failure.to_string();
        assert!(message.starts_with("ringpoll: --html /dev/full: No space left"), "{message}");
        let (_, rescued) = message.split_once("saved to ").unwrap();
        let rescued = Path::new(rescued.strip_suffix(" instead.").unwrap());
        assert!(rescued.starts_with(std::env::temp_dir()), "{message}");
        assert_eq!(fs::read_to_string(rescued).unwrap(), "a result");
        fs::remove_file(rescued).unwrap();
    }
}
