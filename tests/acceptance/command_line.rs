//! What the program says when it is asked wrongly.

use std::process::{Command, Output};

fn weir(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).output().expect("the program starts")
}

#[test]
fn without_a_server_the_sentence_says_how_to_start_one() {
    let output = weir(&["query", "SELECT 1", "--to", "http://127.0.0.1:1"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("no server answers at http://127.0.0.1:1"), "{text}");
    assert!(text.contains("weir serve"), "{text}");
}

#[test]
fn every_subcommand_explains_itself() {
    let help = String::from_utf8_lossy(&weir(&["--help"]).stdout).into_owned();
    for command in
        ["run", "publish", "load", "query", "ask", "alarms", "series", "test", "deliveries", "log"]
    {
        assert!(help.contains(&format!("  {command}")), "{command} is not in:\n{help}");
        let output = weir(&[command, "--help"]);
        assert!(output.status.success(), "{command} --help");
    }
}

#[test]
fn a_misspelt_command_is_a_usage_error() {
    assert_eq!(weir(&["sevre"]).status.code(), Some(2));
}
