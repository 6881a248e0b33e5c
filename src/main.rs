//! `weir`: the program. Reads the command line, runs one subcommand, says how it ended.
//!
//! Promise: what went wrong is one sentence and what to do next; the exit code says whose fault it is.

use clap::Parser;
use mimalloc::MiMalloc;
use std::process::ExitCode;
use weir::cli::{Arguments, exit_code};
use weir::output::Style;

/// Columns are made on one thread and freed on another, a few kilobytes each: two fifths of the doors'
/// time went into the system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match weir::cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let style = Style::for_stderr();
            let text = format!("{error:#}");
            if !text.is_empty() {
                eprintln!("{} {text}", style.red("error:"));
            }
            exit_code(&error)
        }
    }
}
