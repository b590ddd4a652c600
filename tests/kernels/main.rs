//! Boots Debian kernels in QEMU and runs ringpoll and its test suites on them; measures the path
//! length, which is the number of instructions per request.
//!
//! `cargo test --test kernels -- --bounded` boots the oldest, a middle and the newest kernel,
//! `-- --all` all of them. A plain `cargo test` boots none, unless `RINGPOLL_TESTS=full` is set,
//! which implies `--bounded`. `-- --path-length --techniques` measures the path length with and
//! without each technique of io_uring:tuned. All files are in `kernels` in the target directory.

mod apt;
mod arguments;
mod baseline;
mod catalogue;
mod comparison;
mod console;
mod expectations;
mod fault_checks;
mod guest;
mod guest_programs;
mod image;
mod initramfs;
mod machine;
mod matrix;
mod message;
mod path_length;
mod path_length_arms;
mod plot;
mod summary;
mod tools;
mod work;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use libtest_mimic::Trial;

use apt::Apt;
use arguments::Arguments;
use baseline::Baseline;
use image::Image;
use machine::Acceleration;
use path_length::KernelLengths;
use summary::Summary;
use work::Work;

/// Default kernels for `--techniques`: one that lacks the latest techniques, and the newest.
const TECHNIQUE_KERNELS: [&str; 2] = ["6.1", "newest"];

macro_rules! checks {
    ($($module:ident::$name:ident,)*) => { &[$((stringify!($name), $module::$name)),*] };
}

/// Unit tests, which need no guest.
const CHECKS: &[(&str, fn())] = checks![
    apt::packages_of_other_suites_are_ignored,
    apt::sources_use_the_mirror_of_the_host,
    baseline::longer_paths_fail_and_shorter_ones_are_noted,
    catalogue::runs_select_the_kernels_of_their_set,
    console::kernel_warnings_are_found,
    expectations::all_differences_are_reported,
    guest::failure_output_is_extracted,
    guest::last_test_result_is_used,
    message::incomplete_or_damaged_messages_are_rejected,
    path_length_arms::every_technique_is_measured_with_and_without,
];

fn main() -> ExitCode {
    let arguments = Arguments::get();
    if arguments.inside_guest {
        guest::main();
        return ExitCode::SUCCESS;
    }
    let checks = CHECKS.iter().map(|&(name, check)| {
        Trial::test(name, move || {
            check();
            Ok(())
        })
    });
    let options = libtest_mimic::Arguments {
        list: arguments.list,
        filter: arguments.filters.first().cloned(),
        ..libtest_mimic::Arguments::default()
    };
    let conclusion = libtest_mimic::run(&options, checks.collect());
    if conclusion.has_failed() {
        return conclusion.exit_code();
    }
    if !arguments.boots_guests() {
        if arguments.filters.is_empty() && !arguments.list {
            println!("skipped: kernels: not requested (RINGPOLL_TESTS=full, or -- --bounded)");
        }
        return ExitCode::SUCCESS;
    }
    match boot_all(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kernels: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all requested parts that need guests and returns true if all succeed.
fn boot_all(arguments: &Arguments) -> Result<bool, String> {
    if !tools::are_available("kernels") {
        return Ok(true);
    }
    let directory = directory();
    fs::create_dir_all(directory.join("runs")).map_err(|error| error.to_string())?;
    let chosen = match (arguments.techniques, arguments.kernel.is_empty()) {
        (true, true) => catalogue::chosen(&TECHNIQUE_KERNELS.map(str::to_owned), false),
        _ => catalogue::chosen(&arguments.kernel, arguments.all),
    }?;
    let images = match images(&directory, &chosen) {
        Ok(images) => images,
        Err(error) => {
            tools::skip("kernels", &format!("cannot get the kernels: {error}"));
            return Ok(true);
        }
    };
    let built = guest_programs::build(&directory.join("build"))?;
    let programs = initramfs::programs(&directory, &built)?;
    if arguments.compare {
        let initramfs = initramfs::with_work(&programs, &comparison::work(), "comparison")?;
        let problems = comparison::run_all(&images, &initramfs, &built.ringpoll, &directory)?;
        problems.iter().for_each(|it| println!("comparison · {it}"));
        return Ok(problems.is_empty());
    }
    let mut is_good = true;
    if !arguments.path_length {
        is_good &= check_fault_detection(&images, &programs, &directory);
        is_good &= run_matrix(arguments, &images, &programs, &directory)?;
    }
    if !arguments.matrix {
        is_good &= run_path_length(arguments, &images, &programs, &directory)?;
    }
    Ok(is_good)
}

/// Returns the directory for all files of this suite.
fn directory() -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().expect("it is in the target directory").join("kernels")
}

fn images(directory: &Path, chosen: &[catalogue::Kernel]) -> Result<Vec<Image>, String> {
    // The lists of all kernels, so that another selection does not fetch them again.
    let apt = Apt::new(directory.join("apt"), &catalogue::kernels())?;
    let cache = directory.join("images");
    chosen.iter().map(|kernel| image::fetch(&cache, &apt, kernel)).collect()
}

fn check_fault_detection(images: &[Image], programs: &Path, directory: &Path) -> bool {
    let Some(image) = images.first() else { return true };
    let started = Instant::now();
    let undetected = fault_checks::run(image, programs, directory);
    let took_s = started.elapsed().as_secs();
    println!("kernels · checked that guest faults are detected: {took_s} s");
    undetected.iter().for_each(|it| println!("NOT detected: {it}"));
    undetected.is_empty()
}

fn run_matrix(
    arguments: &Arguments,
    images: &[Image],
    programs: &Path,
    directory: &Path,
) -> Result<bool, String> {
    let nothing = initramfs::with_work(programs, &Work::default(), "nothing")?;
    let kvm = machine::kvm_works(directory, &images[0].file, &nothing);
    let acceleration = if kvm { Acceleration::Kvm } else { Acceleration::Tcg };
    let mut work = matrix::work(arguments.all);
    if arguments.without_suites {
        work.suites.clear();
    }
    let initramfs = initramfs::with_work(programs, &work, "matrix")?;
    let started = Instant::now();
    let kernels = matrix::run(images, &initramfs, acceleration, arguments.all, directory);
    let form = match (arguments.kernel.is_empty(), arguments.all) {
        (false, _) => arguments.kernel.join(", "),
        (true, true) => "all".to_owned(),
        (true, false) => "bounded".to_owned(),
    };
    let summary = Summary {
        form,
        acceleration: acceleration.name(),
        compiler: guest_programs::compiler(),
        took_s: started.elapsed().as_secs_f64(),
        kernels,
    };
    Ok(matrix::report(&summary, directory))
}

fn run_path_length(
    arguments: &Arguments,
    images: &[Image],
    programs: &Path,
    directory: &Path,
) -> Result<bool, String> {
    let (name, plan) = match arguments.techniques {
        true => ("path_length_of_techniques", path_length_arms::techniques()),
        false => ("path_length", path_length_arms::variants()),
    };
    let work = Work { path_length: Some(plan.clone()), ..Work::default() };
    let initramfs = initramfs::with_work(programs, &work, name)?;
    let started = Instant::now();
    let boots = arguments.boots.unwrap_or(if arguments.techniques { 1 } else { 2 });
    let measured = path_length::measure(images, &initramfs, &plan, boots, directory);
    let compiler = guest_programs::compiler();
    let write = |extension: &str, text: String| {
        let file = directory.join(format!("{name}.{extension}"));
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok::<_, String>(file)
    };
    let json = serde_json::json!({
        "what": path_length::CAPTION, "compiler": compiler, "kernels": measured,
    });
    write("json", format!("{json:#}\n"))?;
    let page = write("html", plot::page(&measured, &plan, &compiler))?;
    match arguments.techniques {
        true => println!("\n{}", path_length::technique_table(&measured)),
        false => println!("\n{}", path_length::table(&measured, &plan)),
    }
    println!("{} s · {}", started.elapsed().as_secs(), page.display());
    if arguments.techniques {
        let problems = measured.iter().flat_map(|kernel| &kernel.problems);
        return Ok(problems.inspect(|it| println!("path length · {it}")).count() == 0);
    }
    check_path_length(arguments, &measured, &compiler)
}

/// Compares the path lengths with the baseline, or writes them to it.
fn check_path_length(
    arguments: &Arguments,
    measured: &[KernelLengths],
    compiler: &str,
) -> Result<bool, String> {
    let mut failures: Vec<_> = measured
        .iter()
        .flat_map(|kernel| kernel.problems.iter().map(|it| format!("{}: {it}", kernel.kernel)))
        .collect();
    let baseline = Baseline::read()?;
    if let (true, Some(reason)) = (arguments.write_baseline, &arguments.reason) {
        if failures.is_empty() {
            let file = baseline.rewrite(measured, compiler, reason)?;
            println!("wrote the baseline: {}", file.display());
        }
    } else {
        let must_compare = env::var("CI").as_deref() == Ok("true");
        let verdict = baseline.compare(measured, compiler, must_compare);
        verdict.notes.iter().for_each(|it| println!("path length · {it}"));
        println!("path length · {} kernels have the build of the baseline", verdict.same_build);
        failures.extend(verdict.failures);
    }
    failures.iter().for_each(|it| println!("path length · {it}"));
    Ok(failures.is_empty())
}
