//! The project's own programs under the kernels that people run, each booted in QEMU: what they
//! find there, whether the suites pass, and how many instructions a request takes.
//!
//! `cargo test --test kernels -- --bounded` boots the kernels of every run, `-- --all` all of
//! them. A plain `cargo test` boots none, unless `RINGPOLL_KERNELS=bounded` or `CI=true` ask for
//! it. `-- --path-length --techniques` counts the instructions a request with and without each
//! technique of io_uring:tuned. Everything is kept below the target directory, in `kernels`.

mod apt;
mod arguments;
mod arms;
mod baseline;
mod catalogue;
#[path = "../common/mod.rs"]
mod common;
mod comparison;
mod console;
mod expectations;
mod frame;
mod guest;
mod image;
mod initramfs;
mod machine;
mod matrix;
mod path_length;
mod payload;
mod plot;
mod proofs;
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

/// Under which techniques are counted unless others are named: one that lacks the latest of them,
/// and the newest.
const OF_TECHNIQUES: [&str; 2] = ["6.1", "newest"];

/// What needs no guest, and runs always.
const CHECKS: &[(&str, fn())] = &[
    ("a_frame_comes_whole_or_not_at_all", frame::a_frame_comes_whole_or_not_at_all),
    (
        "a_longer_path_fails_and_a_shorter_one_is_told",
        baseline::a_longer_path_fails_and_a_shorter_one_is_told,
    ),
    ("a_package_is_taken_from_its_suites_alone", apt::a_package_is_taken_from_its_suites_alone),
    ("a_run_has_the_kernels_of_its_set", catalogue::a_run_has_the_kernels_of_its_set),
    (
        "every_technique_is_counted_with_and_without",
        arms::every_technique_is_counted_with_and_without,
    ),
    ("complaints_are_found", console::complaints_are_found),
    ("sources_follow_the_machines_own", apt::sources_follow_the_machines_own),
    ("the_last_result_counts", guest::the_last_result_counts),
    ("what_failed_is_told", guest::what_failed_is_told),
    ("what_is_otherwise_is_told", expectations::what_is_otherwise_is_told),
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
    let own = libtest_mimic::Arguments {
        list: arguments.list,
        filter: arguments.filters.first().cloned(),
        ..libtest_mimic::Arguments::default()
    };
    let conclusion = libtest_mimic::run(&own, checks.collect());
    if conclusion.has_failed() {
        return conclusion.exit_code();
    }
    if !arguments.boots_anything() {
        if arguments.filters.is_empty() && !arguments.list {
            println!("skipped: kernels: not asked for (RINGPOLL_KERNELS=bounded, or -- --bounded)");
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

/// Everything that is asked for and needs guests; whether all is good.
fn boot_all(arguments: &Arguments) -> Result<bool, String> {
    if !tools::are_there("kernels") {
        return Ok(true);
    }
    let directory = directory();
    fs::create_dir_all(directory.join("runs")).map_err(|error| error.to_string())?;
    let chosen = match (arguments.techniques, arguments.kernel.is_empty()) {
        (true, true) => catalogue::chosen(&OF_TECHNIQUES.map(str::to_owned), false),
        _ => catalogue::chosen(&arguments.kernel, arguments.all),
    }?;
    let images = match images(&directory, &chosen) {
        Ok(images) => images,
        Err(error) => {
            tools::skip("kernels", &format!("no kernels to be had: {error}"));
            return Ok(true);
        }
    };
    let payload = payload::build(&directory.join("build"))?;
    let programs = initramfs::programs(&directory, &payload)?;
    if arguments.compare {
        let initramfs = initramfs::with_work(&programs, &comparison::work(), "comparison")?;
        let problems = comparison::run_all(&images, &initramfs, &payload.ringpoll, &directory)?;
        problems.iter().for_each(|it| println!("comparison · {it}"));
        return Ok(problems.is_empty());
    }
    let mut is_good = true;
    if !arguments.path_length {
        is_good &= prove(&images, &programs, &directory);
        is_good &= run_matrix(arguments, &images, &programs, &directory)?;
    }
    if !arguments.matrix {
        is_good &= run_path_length(arguments, &images, &programs, &directory)?;
    }
    Ok(is_good)
}

/// Beside what cargo keeps there itself.
fn directory() -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().expect("it is in the target directory").join("kernels")
}

fn images(directory: &Path, chosen: &[catalogue::Kernel]) -> Result<Vec<Image>, String> {
    // Each run has the lists of all kernels, or they would be fetched again for the next one.
    let apt = Apt::new(directory.join("apt"), &catalogue::kernels())?;
    let kept = directory.join("images");
    chosen.iter().map(|kernel| image::fetch(&kept, &apt, kernel)).collect()
}

fn prove(images: &[Image], programs: &Path, directory: &Path) -> bool {
    let Some(image) = images.first() else { return true };
    let started = Instant::now();
    let unseen = proofs::run(image, programs, directory);
    let took_s = started.elapsed().as_secs();
    println!("kernels · guests that go wrong on purpose are found out: {} s", took_s);
    unseen.iter().for_each(|it| println!("NOT found out: {it}"));
    unseen.is_empty()
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
        compiler: payload::compiler(),
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
        true => ("path_length_of_techniques", arms::techniques()),
        false => ("path_length", arms::variants()),
    };
    let work = Work { cost: Some(plan.clone()), ..Work::default() };
    let initramfs = initramfs::with_work(programs, &work, name)?;
    let started = Instant::now();
    let boots = arguments.boots.unwrap_or(if arguments.techniques { 1 } else { 2 });
    let measured = path_length::measure(images, &initramfs, &plan, boots, directory);
    let compiler = payload::compiler();
    let write = |extension: &str, text: String| {
        let file = directory.join(format!("{name}.{extension}"));
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok::<_, String>(file)
    };
    let json = serde_json::json!({
        "what": path_length::WHAT_IT_IS, "compiler": compiler, "kernels": measured,
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
    judge_path_length(arguments, &measured, &compiler)
}

/// Holds it to the baseline, or makes it the baseline.
fn judge_path_length(
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
            println!("the baseline is written: {}", file.display());
        }
    } else {
        let must_compare = env::var("CI").as_deref() == Ok("true");
        let verdict = baseline.compare(measured, compiler, must_compare);
        verdict.remarks.iter().for_each(|it| println!("path length · {it}"));
        println!("path length · {} kernels of exactly the baseline's build", verdict.exact);
        failures.extend(verdict.failures);
    }
    failures.iter().for_each(|it| println!("path length · {it}"));
    Ok(failures.is_empty())
}
