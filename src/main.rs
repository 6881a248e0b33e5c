//! `weir`: the program. Reads the command line, runs one subcommand, says how it ended.
//!
//! Promise: what went wrong is one sentence and what to do next; the exit code says whose fault it is.

use clap::Parser;
use std::process::ExitCode;
use weir::cli::{Arguments, exit_code};
use weir::output::Style;

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
