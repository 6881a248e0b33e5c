//! Every target over its corpus, its seeds, and seeded mutations of both. `WEIR_FUZZ_MUTATIONS` takes
//! another number of mutations of each; a failure says the target and writes the input.

use std::path::PathBuf;
use weir_fuzz::{seeds, targets};

/// Mutations of each target unless the environment says otherwise.
const MUTATIONS: usize = 20_000;
const INPUT_BYTES_MAX: usize = 64 * 1024;

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(corpus(target)).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus of {target} is there");
    let files = files.iter().map(|file| std::fs::read(file).expect("readable"));
    files.chain(seeds::of(target)).collect()
}

/// Xorshift: the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("below a usize")
    }
}

const NUMBERS: [u64; 8] =
    [0, 1, 0x7f, 0x80, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff];

fn mutate(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        match numbers.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            1 if !bytes.is_empty() => bytes[at] = numbers.next().to_le_bytes()[0],
            2 => bytes.truncate(at),
            3 => {
                let number = NUMBERS[numbers.below(NUMBERS.len())].to_le_bytes();
                let width = [1, 2, 4, 8][numbers.below(4)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            4 => {
                let end = (at + numbers.below(256)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                let from = numbers.below(other.len());
                let end = (from + numbers.below(256)).min(other.len());
                bytes.splice(at..at, other[from..end].iter().copied());
            }
            _ => {
                let end = (at + numbers.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
}

/// Runs `target`; an input it fails on is kept beside the build.
fn run(name: &str, target: fn(&[u8]), bytes: &[u8]) {
    let result = std::panic::catch_unwind(|| targets::run(target, bytes));
    if let Err(panic) = result {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.failed"));
        std::fs::write(&path, bytes).expect("writable");
        eprintln!("{name} failed on {} bytes, kept in {}", bytes.len(), path.display());
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn no_target_fails_on_its_corpus_or_on_mutations_of_it() {
    let mutations = std::env::var("WEIR_FUZZ_MUTATIONS").ok().and_then(|n| n.parse().ok());
    let mutations = mutations.unwrap_or(MUTATIONS);
    std::thread::scope(|threads| {
        let tasks: Vec<_> = targets::ALL
            .into_iter()
            .map(|(name, target)| {
                threads.spawn(move || {
                    let inputs = inputs(name);
                    inputs.iter().for_each(|bytes| run(name, target, bytes));
                    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
                    for _ in 0..mutations {
                        let mut bytes = inputs[numbers.below(inputs.len())].clone();
                        let other = &inputs[numbers.below(inputs.len())];
                        mutate(&mut bytes, other, &mut numbers);
                        run(name, target, &bytes);
                    }
                    println!("{name}: {} inputs, {mutations} mutations", inputs.len());
                })
            })
            .collect();
        let failed = tasks.into_iter().filter_map(|task| task.join().err()).count();
        assert_eq!(failed, 0, "targets that failed; see above");
    });
}

/// Writes the seeds where the corpus is; run by hand when the format changes.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_seeds() {
    for (name, _) in targets::ALL {
        let directory = corpus(name);
        std::fs::create_dir_all(&directory).expect("writable");
        for (n, bytes) in seeds::of(name).into_iter().enumerate() {
            std::fs::write(directory.join(format!("seed-{n}")), bytes).expect("writable");
        }
    }
}

#[test]
fn memory_beyond_twice_the_input_is_noticed() {
    use weir_fuzz::bounded::{bounded, most_held};
    let (_, held) = most_held(|| drop(vec![1_u8; 10_000]));
    assert_eq!(held, 10_000);
    bounded(10_000, 0, || drop(vec![1_u8; 20_000]));
    assert!(std::panic::catch_unwind(|| bounded(10, 100, || drop(vec![1_u8; 1_000]))).is_err());
}
