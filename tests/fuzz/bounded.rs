//! Runs the targets without libFuzzer, on the whole corpus and on a fixed number of seeded
//! mutations of it. A failure prints the input, so that it can be added to the corpus.

use std::fs;
use std::panic;
use std::path::Path;

use simulation::bytes_of_seed;

/// Mutated inputs per target.
const MUTATIONS: u64 = 20_000;

#[test]
fn request_head() {
    run_corpus_and_mutations("request_head", ringpoll_fuzz::request_head);
}

#[test]
fn config() {
    run_corpus_and_mutations("config", ringpoll_fuzz::config);
}

#[test]
fn histories() {
    run_corpus_and_mutations("histories", ringpoll_fuzz::histories);
}

fn run_corpus_and_mutations(name: &str, target: fn(&[u8])) {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    for input in &corpus {
        run(name, target, input);
    }
    for seed in 0..MUTATIONS {
        run(name, target, &mutate(&corpus, seed));
    }
    println!("{name}: {} inputs of the corpus, {MUTATIONS} mutations", corpus.len());
}

fn run(name: &str, target: fn(&[u8]), input: &[u8]) {
    if let Err(cause) = panic::catch_unwind(|| target(input)) {
        eprintln!("{name} fails with b\"{}\"", input.escape_ascii());
        panic::resume_unwind(cause);
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let files = fs::read_dir(directory).expect("the corpus directory");
    let mut files: Vec<_> = files.map(|file| file.expect("a directory entry").path()).collect();
    // Sorted, so that a seed gives the same input on every machine.
    files.sort();
    files.iter().map(|file| fs::read(file).expect("an input")).collect()
}

/// Mutates one input of the corpus: changes, inserts or removes bytes, or appends the tail of
/// another.
fn mutate(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut random = bytes_of_seed(seed, 64).into_iter().cycle();
    let mut below = |bound: usize| {
        let byte = |random: &mut dyn Iterator<Item = u8>| usize::from(random.next().unwrap_or(0));
        (byte(&mut random) << 8 | byte(&mut random)) % bound.max(1)
    };
    let mut input = corpus[below(corpus.len())].clone();
    for _ in 0..=below(8) {
        let index = below(input.len());
        match below(4) {
            0 if !input.is_empty() => input[index] = below(256) as u8,
            1 if !input.is_empty() => drop(input.remove(index)),
            2 => {
                let other = &corpus[below(corpus.len())];
                input.truncate(index);
                input.extend_from_slice(&other[below(other.len())..]);
            }
            _ => input.insert(index, below(256) as u8),
        }
    }
    input
}
