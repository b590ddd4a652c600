//! The targets without libFuzzer: the whole corpus, and a fixed number of inputs that follow from
//! it by seeded chance. A failure prints the input, to be put into the corpus.

use std::fs;
use std::panic;
use std::path::Path;

use ringpoll_backends::simulation::bytes_of_seed;

/// How many inputs each target gets beyond its corpus.
const INPUTS: u64 = 20_000;

#[test]
fn request_heads() {
    run_corpus_and_neighbours("request_head", ringpoll_fuzz::request_head);
}

#[test]
fn configs() {
    run_corpus_and_neighbours("config", ringpoll_fuzz::config);
}

#[test]
fn histories() {
    run_corpus_and_neighbours("histories", ringpoll_fuzz::histories);
}

fn run_corpus_and_neighbours(name: &str, target: fn(&[u8])) {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    for input in &corpus {
        run(name, target, input);
    }
    for seed in 0..INPUTS {
        run(name, target, &neighbour(&corpus, seed));
    }
    println!("{name}: {} inputs of the corpus, {INPUTS} neighbours", corpus.len());
}

fn run(name: &str, target: fn(&[u8]), input: &[u8]) {
    if let Err(cause) = panic::catch_unwind(|| target(input)) {
        eprintln!("{name} fails with b\"{}\"", input.escape_ascii());
        panic::resume_unwind(cause);
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let files = fs::read_dir(directory).expect("a corpus is a directory");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    // The same seed is the same input on every machine.
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a file")).collect()
}

/// One input of the corpus with some bytes changed, or put in, or taken out, or another's tail.
fn neighbour(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut chance = bytes_of_seed(seed, 64).into_iter().cycle();
    let mut below = |many: usize| {
        let byte = |chance: &mut dyn Iterator<Item = u8>| usize::from(chance.next().unwrap_or(0));
        (byte(&mut chance) << 8 | byte(&mut chance)) % many.max(1)
    };
    let mut input = corpus[below(corpus.len())].clone();
    for _ in 0..=below(8) {
        let place = below(input.len());
        match below(4) {
            0 if !input.is_empty() => input[place] = below(256) as u8,
            1 if !input.is_empty() => drop(input.remove(place)),
            2 => {
                let other = &corpus[below(corpus.len())];
                input.truncate(place);
                input.extend_from_slice(&other[below(other.len())..]);
            }
            _ => input.insert(place, below(256) as u8),
        }
    }
    input
}
