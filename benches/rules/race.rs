//! Runs that take turns: the figure of each is its median.

use std::time::Instant;

pub(crate) const RUNS: usize = 5;

/// What a run gives: rows and the sum of a column.
pub(crate) type Answer = (usize, f64);

/// Something that is measured.
pub(crate) struct Contender<'a> {
    name: &'a str,
    run: Box<dyn Fn() -> Answer + 'a>,
}

pub(crate) fn contender<'a>(name: &'a str, run: impl Fn() -> Answer + 'a) -> Contender<'a> {
    Contender { name, run: Box::new(run) }
}

/// Rows a second of each, medians of runs that alternate; the first run warms up and is checked.
pub(crate) fn race(title: &str, rows: usize, contenders: &[Contender<'_>]) -> Vec<f64> {
    println!("{title}: {rows} rows, median of {RUNS} runs in turn");
    for Contender { name, run } in contenders {
        let (answer, sum) = run();
        println!("  {name}: {answer} rows out, sum {sum:.3}");
    }
    let mut seconds = vec![Vec::new(); contenders.len()];
    for _ in 0..RUNS {
        for (contender, seconds) in contenders.iter().zip(&mut seconds) {
            let start = Instant::now();
            std::hint::black_box((contender.run)());
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let rates: Vec<f64> = seconds.into_iter().map(|s| rows as f64 / median(s)).collect();
    for (Contender { name, .. }, rate) in contenders.iter().zip(&rates) {
        println!("  {name}: {:.1} M rows/s", rate / 1e6);
    }
    rates
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
