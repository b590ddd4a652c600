//! Boots a kernel in QEMU with a timeout and reads the results.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::console;
use crate::message::GuestMessage;
use crate::tools::run;
use crate::work::Results;

/// Execution of the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acceleration {
    Kvm,
    /// Emulation by QEMU, with one thread for all CPUs: guests oops at times with one for each.
    Tcg,
    /// Emulation of one CPU with a clock that advances by 1 ns an instruction.
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
            // Neither random numbers nor the clock of the host.
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

/// Parameters of every kernel. `nokaslr`: the load address changes path lengths.
const KERNEL_PARAMETERS: &str = "console=ttyS0 panic=-1 oops=panic nokaslr quiet loglevel=5";

/// A machine and the kernel that it boots.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    pub(crate) image: PathBuf,
    pub(crate) initramfs: PathBuf,
    pub(crate) acceleration: Acceleration,
    pub(crate) timeout: Duration,
    /// Additional kernel parameters.
    pub(crate) parameters: String,
    /// Directory for the console output, the message and the results.
    pub(crate) directory: PathBuf,
}

/// The outcome of a boot that ended with a message.
#[derive(Clone, Debug)]
pub(crate) struct Booted {
    pub(crate) exit_code: i32,
    pub(crate) results: Results,
    pub(crate) kernel_warnings: Vec<String>,
}

impl Boot {
    /// Boots the kernel and waits for the guest to power off.
    ///
    /// # Errors
    /// If no complete message arrives; the error contains the end of the console output.
    pub(crate) fn run(&self) -> Result<Booted, String> {
        let _ = fs::remove_dir_all(&self.directory);
        fs::create_dir_all(&self.directory).map_err(|error| error.to_string())?;
        let ended = self.start().and_then(|child| self.wait(child));
        let console = fs::read(self.console()).unwrap_or_default();
        let console = String::from_utf8_lossy(&console).into_owned();
        let complaints = console::kernel_warnings(&console);
        let port = fs::read(self.port()).unwrap_or_default();
        let read =
            ended.and_then(|()| GuestMessage::read(&port)).and_then(|message| self.unpack(message));
        match read {
            Ok((exit_code, results)) => {
                Ok(Booted { exit_code, results, kernel_warnings: complaints })
            }
            Err(error) if complaints.is_empty() => Err(format!("{error}{}", last_lines(&console))),
            Err(error) => Err(format!("{error}; the kernel reported: {}", complaints.join(" | "))),
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
            .args(["-append", &format!("{KERNEL_PARAMETERS} {}", self.parameters)])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|it| it.to_string())?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("qemu-system-x86_64: {error}"))
    }

    fn wait(&self, mut child: Child) -> Result<(), String> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    let log = fs::read_to_string(self.directory.join("qemu.log"));
                    return Err(format!("QEMU: {status}: {}", log.unwrap_or_default().trim()));
                }
                Ok(None) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(50));
                }
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("timed out after {:?}", self.timeout));
                }
                Err(error) => return Err(format!("QEMU: {error}")),
            }
        }
    }

    fn unpack(&self, message: GuestMessage) -> Result<(i32, Results), String> {
        let (tar, results) = (self.directory.join("results.tar"), self.directory.join("results"));
        fs::write(&tar, message.bytes).map_err(|error| error.to_string())?;
        fs::create_dir_all(&results).map_err(|error| error.to_string())?;
        run(Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&results))?;
        let json = fs::read_to_string(results.join("results.json"));
        let json = json.map_err(|error| format!("results.json: {error}"))?;
        let results = serde_json::from_str(&json);
        Ok((message.exit_code, results.map_err(|error| format!("results.json: {error}"))?))
    }
}

/// Returns the last lines of the console output as the end of an error message.
fn last_lines(console: &str) -> String {
    let lines: Vec<_> = console.lines().collect();
    let last = &lines[lines.len().saturating_sub(12)..];
    if last.is_empty() { String::new() } else { format!("; last lines:\n{}", last.join("\n")) }
}

/// Returns true if KVM runs a guest to its end. It is tried once for each boot of the host.
pub(crate) fn kvm_works(directory: &Path, image: &Path, initramfs: &Path) -> bool {
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let this_boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let cache = directory.join("kvm");
    let cached = fs::read_to_string(&cache).unwrap_or_default();
    if let Some(word) = cached.strip_prefix(&this_boot) {
        return word == "works";
    }
    let boot = Boot {
        image: image.to_owned(),
        initramfs: initramfs.to_owned(),
        acceleration: Acceleration::Kvm,
        timeout: Duration::from_secs(20),
        parameters: String::new(),
        directory: directory.join("runs/kvm"),
    };
    let works = boot.run().is_ok_and(|booted| booted.kernel_warnings.is_empty());
    let word = if works { "works" } else { "does not work" };
    println!("kernels · /dev/kvm opens, and {word}");
    let _ = fs::write(cache, format!("{this_boot}{word}"));
    works
}
