//! One boot: a machine that QEMU makes, its time limit, and what came out of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::console;
use crate::frame::Frame;
use crate::tools::run;
use crate::work::Results;

/// How the guest's instructions are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acceleration {
    Kvm,
    /// By QEMU itself. One thread for all processors: with one for each, guests oops now and then.
    Tcg,
    /// The same with one processor and a clock that goes on by a nanosecond an instruction.
    CountedInstructions,
}

impl Acceleration {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
            Self::CountedInstructions => "tcg, icount",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host", "-smp", "2"],
            Self::Tcg => &["-accel", "tcg,thread=single", "-smp", "2"],
            // No random numbers of the host's, no clock of the host's.
            Self::CountedInstructions => &[
                "-accel",
                "tcg,thread=single",
                "-cpu",
                "qemu64",
                "-smp",
                "1",
                "-icount",
                "shift=0,sleep=off",
                "-rtc",
                "base=2024-01-01T00:00:00,clock=vm",
            ],
        }
    }
}

/// What every kernel is told. A path would be another one wherever the kernel has put itself.
const PARAMETERS: &str = "console=ttyS0 panic=-1 oops=panic nokaslr quiet loglevel=5";

/// A machine and what it is to boot.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    pub(crate) image: PathBuf,
    pub(crate) initramfs: PathBuf,
    pub(crate) acceleration: Acceleration,
    pub(crate) limit: Duration,
    /// What else the kernel is told.
    pub(crate) parameters: String,
    /// Where its console, its frame and its results are kept.
    pub(crate) directory: PathBuf,
}

/// What came out of a boot that came to its end.
#[derive(Clone, Debug)]
pub(crate) struct Booted {
    pub(crate) exit_code: i32,
    pub(crate) results: Results,
    pub(crate) complaints: Vec<String>,
}

impl Boot {
    /// Boots it and waits for its end.
    ///
    /// # Errors
    /// Whatever keeps it from saying all that it has to say, with the end of its console.
    pub(crate) fn run(&self) -> Result<Booted, String> {
        let _ = fs::remove_dir_all(&self.directory);
        fs::create_dir_all(&self.directory).map_err(|error| error.to_string())?;
        let ended = self.start().and_then(|child| self.wait(child));
        let console = fs::read(self.console()).unwrap_or_default();
        let console = String::from_utf8_lossy(&console).into_owned();
        let complaints = console::complaints(&console);
        let port = fs::read(self.port()).unwrap_or_default();
        let read = ended.and_then(|()| Frame::read(&port)).and_then(|frame| self.unpack(frame));
        match read {
            Ok((exit_code, results)) => Ok(Booted { exit_code, results, complaints }),
            Err(error) if complaints.is_empty() => Err(format!("{error}{}", last_lines(&console))),
            Err(error) => Err(format!("{error}; its kernel said: {}", complaints.join(" | "))),
        }
    }

    fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    fn port(&self) -> PathBuf {
        self.directory.join("port")
    }

    fn start(&self) -> Result<Child, String> {
        let log = File::create(self.directory.join("qemu.log")).map_err(|it| it.to_string())?;
        Command::new("qemu-system-x86_64")
            .args(["-machine", "q35", "-m", "1024", "-nodefaults", "-no-user-config"])
            .args(["-display", "none", "-monitor", "none", "-no-reboot"])
            .args(self.acceleration.arguments())
            .args(["-serial", &format!("file:{}", self.console().display())])
            .args(["-serial", &format!("file:{}", self.port().display())])
            .arg("-kernel")
            .arg(&self.image)
            .arg("-initrd")
            .arg(&self.initramfs)
            .args(["-append", &format!("{PARAMETERS} {}", self.parameters)])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|it| it.to_string())?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("qemu-system-x86_64: {error}"))
    }

    fn wait(&self, mut child: Child) -> Result<(), String> {
        let deadline = Instant::now() + self.limit;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    let said = fs::read_to_string(self.directory.join("qemu.log"));
                    return Err(format!("QEMU: {status}: {}", said.unwrap_or_default().trim()));
                }
                Ok(None) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(50));
                }
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("it did not end within {:?}", self.limit));
                }
                Err(error) => return Err(format!("QEMU: {error}")),
            }
        }
    }

    fn unpack(&self, frame: Frame) -> Result<(i32, Results), String> {
        let (tar, results) = (self.directory.join("results.tar"), self.directory.join("results"));
        fs::write(&tar, frame.bytes).map_err(|error| error.to_string())?;
        fs::create_dir_all(&results).map_err(|error| error.to_string())?;
        run(Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&results))?;
        let json = fs::read_to_string(results.join("results.json"));
        let json = json.map_err(|error| format!("results.json: {error}"))?;
        let results = serde_json::from_str(&json);
        Ok((frame.exit_code, results.map_err(|error| format!("results.json: {error}"))?))
    }
}

/// The end of a text, for people who want to know what came before.
fn last_lines(console: &str) -> String {
    let lines: Vec<_> = console.lines().collect();
    let last = &lines[lines.len().saturating_sub(12)..];
    if last.is_empty() { String::new() } else { format!("; its last words:\n{}", last.join("\n")) }
}

/// Whether KVM not only opens but carries a guest to its end. It is tried once for each boot of
/// the host, with an image that is known to need no more than seconds.
pub(crate) fn kvm_works(directory: &Path, image: &Path, initramfs: &Path) -> bool {
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let this_boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let known = directory.join("kvm");
    let remembered = fs::read_to_string(&known).unwrap_or_default();
    if let Some(word) = remembered.strip_prefix(&this_boot) {
        return word == "works";
    }
    let boot = Boot {
        image: image.to_owned(),
        initramfs: initramfs.to_owned(),
        acceleration: Acceleration::Kvm,
        limit: Duration::from_secs(20),
        parameters: String::new(),
        directory: directory.join("runs/kvm"),
    };
    let works = boot.run().is_ok_and(|booted| booted.complaints.is_empty());
    let word = if works { "works" } else { "does not work" };
    println!("kernels · KVM opens here, and {word}");
    let _ = fs::write(known, format!("{this_boot}{word}"));
    works
}
