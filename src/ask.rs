//! `weir ask`: the named questions, with parameters as `--name value`.

use crate::cli::To;
use crate::client::{batches, media};
use crate::output::{self, Style};
use anyhow::{Result, bail};
use serde_json::Value;

const EXAMPLE: &str = "\
Examples:
  weir ask
  weir ask people_in_room --building 41 --floor 3 --unit j --room 4
  weir ask unoccupied_rooms --building 41 --hold 60
  weir ask --to http://127.0.0.1:9000 fire_at_site --site berlin";

/// What `weir ask` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Arguments {
    #[command(flatten)]
    to: To,
    /// The question's name; without one, all are listed
    question: Option<String>,
    /// The question's parameters, as --name value
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "--PARAMETER VALUE")]
    parameters: Vec<String>,
}

/// Asks, or lists what can be asked.
/// # Errors
/// The server's sentence, or a parameter without a value.
pub async fn run(arguments: Arguments) -> Result<()> {
    let client = arguments.to.client()?;
    let Some(question) = arguments.question else {
        let text = client.get("/v1/questions", &[], media::JSON).await?.text().await?;
        return list(&text);
    };
    let parameters = pairs(&arguments.parameters)?;
    let path = format!("/v1/questions/{question}");
    let bytes = client.get(&path, &parameters, media::ARROW).await?.bytes().await?;
    println!("{}", output::table(&batches(&bytes)?)?);
    Ok(())
}

/// `--a 1 --b=2` as pairs.
fn pairs(words: &[String]) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--") else {
            bail!("'{word}' stands where a parameter is expected; write --name value");
        };
        match name.split_once('=') {
            Some((name, value)) => pairs.push((name.to_owned(), value.to_owned())),
            None => match words.next() {
                Some(value) => pairs.push((name.to_owned(), value.clone())),
                None => bail!("--{name} has no value; write --{name} VALUE"),
            },
        }
    }
    Ok(pairs)
}

fn list(text: &str) -> Result<()> {
    let style = Style::for_stdout();
    let answer: Value = serde_json::from_str(text)?;
    let questions = answer.get("questions").unwrap_or(&answer);
    for question in questions.as_array().map(Vec::as_slice).unwrap_or_default() {
        let word = |name: &str| question.get(name).and_then(Value::as_str).unwrap_or_default();
        println!("{}  {}", style.cyan(&format!("{:<18}", word("name"))), word("question"));
        for parameter in question.get("parameters").and_then(Value::as_array).into_iter().flatten()
        {
            println!("{:20}{}", "", style.dim(&describe(parameter)));
        }
    }
    Ok(())
}

fn describe(parameter: &Value) -> String {
    if let Some(name) = parameter.as_str() {
        return format!("--{name}");
    }
    let word = |name: &str| parameter.get(name).and_then(Value::as_str);
    let default = match parameter.get("default") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => format!(" (default {text})"),
        Some(other) => format!(" (default {other})"),
    };
    let about = word("description").map(|text| format!("  {text}")).unwrap_or_default();
    format!("--{}{default}{about}", word("name").unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn parameters_come_in_both_spellings() {
        let pairs = pairs(&words("--building 41 --floor=3")).expect("well formed");
        let expected =
            [("building".to_owned(), "41".to_owned()), ("floor".to_owned(), "3".to_owned())];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn a_parameter_without_a_value_is_refused() {
        assert!(pairs(&words("--building")).is_err());
        assert!(pairs(&words("41")).is_err());
    }
}
