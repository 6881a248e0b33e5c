//! `GET /v1/questions` and `GET /v1/questions/{name}`: the shipped questions, with parameters.
//!
//! Promise: a question is a .sql file whose header names its parameters; what a caller gives is
//! bound as a literal, and what is missing or unknown is answered with a sentence.

use super::error::ApiError;
use super::sql::accepted;
use crate::session::{Parameters, Session};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::log::Log;

/// One shipped question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What it is asked by.
    pub name: &'static str,
    /// In words.
    pub question: &'static str,
    /// What it takes, in the order of its header.
    pub parameters: Vec<Parameter>,
    /// The file.
    pub sql: &'static str,
}

/// One parameter of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What stands in for it.
    pub default: ParameterDefault,
}

/// What stands in for a parameter that is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterDefault {
    /// Nothing: it has to be given.
    Required,
    /// This text.
    Value(&'static str),
    /// So many times the `interval` of a stream, in seconds.
    Intervals {
        /// How many.
        times: u32,
        /// Of which stream.
        stream: &'static str,
    },
}

/// Why a question cannot be asked so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// There is no such question.
    #[error("there is no question '{name}'; there are {known}")]
    Unknown {
        /// What was asked.
        name: String,
        /// What there is.
        known: String,
    },
    /// A required parameter is not given.
    #[error("the question '{question}' needs '{parameter}'; it takes {takes}")]
    Missing {
        /// The question.
        question: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// All it takes.
        takes: String,
    },
    /// A parameter it does not take.
    #[error("the question '{question}' has no parameter '{parameter}'; it takes {takes}")]
    UnknownParameter {
        /// The question.
        question: &'static str,
        /// What was given.
        parameter: String,
        /// All it takes.
        takes: String,
    },
    /// The default needs an option that the stream does not have.
    #[error(
        "'{parameter}' has no default: the stream '{stream}' declares no interval; give it in seconds, {parameter}=30"
    )]
    NoInterval {
        /// The parameter.
        parameter: &'static str,
        /// The stream.
        stream: &'static str,
    },
}

const FILES: [(&str, &str); 5] = [
    ("air_quality", include_str!("../../questions/air_quality.sql")),
    ("fire_at_site", include_str!("../../questions/fire_at_site.sql")),
    ("people_in_room", include_str!("../../questions/people_in_room.sql")),
    ("unit_temperature", include_str!("../../questions/unit_temperature.sql")),
    ("unoccupied_rooms", include_str!("../../questions/unoccupied_rooms.sql")),
];

/// All shipped questions, by name.
pub fn all() -> Vec<Question> {
    FILES
        .iter()
        .map(|(name, sql)| {
            Question::parse(name, sql).expect("shipped questions have a header; a test reads them")
        })
        .collect()
}

impl Question {
    /// The question of this name.
    /// # Errors
    /// `QuestionError::Unknown`.
    pub fn named(name: &str) -> Result<Self, QuestionError> {
        let all = all();
        let known = all.iter().map(|q| q.name).collect::<Vec<_>>().join(", ");
        let found = all.into_iter().find(|question| question.name == name);
        found.ok_or_else(|| QuestionError::Unknown { name: name.to_owned(), known })
    }

    /// The values to bind: what is given, and the defaults for the rest.
    /// # Errors
    /// A required one is missing, an unknown one is given, a default cannot be told.
    pub fn parameters(
        &self,
        given: &BTreeMap<String, String>,
        log: &Log,
    ) -> Result<Parameters, QuestionError> {
        self.bind(given, |stream| {
            let stream = log.streams().get(stream)?;
            stream.definition().options().interval.map(|interval| interval.as_secs_f64())
        })
    }

    fn bind(
        &self,
        given: &BTreeMap<String, String>,
        interval_s: impl Fn(&str) -> Option<f64>,
    ) -> Result<Parameters, QuestionError> {
        let takes = || self.parameters.iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
        let known = |name: &String| self.parameters.iter().any(|p| p.name == name);
        if let Some(unknown) = given.keys().find(|name| !known(name)) {
            return Err(QuestionError::UnknownParameter {
                question: self.name,
                parameter: unknown.clone(),
                takes: if self.parameters.is_empty() { "none".to_owned() } else { takes() },
            });
        }
        let mut values = Parameters::none();
        for parameter in &self.parameters {
            let value = match (given.get(parameter.name), parameter.default) {
                (Some(value), _) => json!(value),
                (None, ParameterDefault::Value(value)) => json!(value),
                (None, ParameterDefault::Intervals { times, stream }) => match interval_s(stream) {
                    Some(seconds) => json!(f64::from(times) * seconds),
                    None => {
                        return Err(QuestionError::NoInterval {
                            parameter: parameter.name,
                            stream,
                        });
                    }
                },
                (None, ParameterDefault::Required) => {
                    return Err(QuestionError::Missing {
                        question: self.name,
                        parameter: parameter.name,
                        takes: takes(),
                    });
                }
            };
            values.set(parameter.name, value);
        }
        Ok(values)
    }

    /// Reads the header: `-- question: ...` and `-- parameters: a (required), b (default 30)`.
    fn parse(name: &'static str, sql: &'static str) -> Option<Self> {
        let header = |key: &str| {
            let line = |line: &'static str| line.strip_prefix("-- ")?.strip_prefix(key);
            sql.lines().find_map(line).map(str::trim)
        };
        let question = header("question:")?;
        let parameters = header("parameters:").unwrap_or_default();
        let parameters = parameters
            .split(',')
            .filter(|text| !text.trim().is_empty() && text.trim() != "none")
            .map(Parameter::parse)
            .collect::<Option<_>>()?;
        Some(Self { name, question, parameters, sql })
    }

    fn describe(&self) -> Value {
        let parameters: Vec<_> = self.parameters.iter().map(Parameter::describe).collect();
        let (name, question, sql) = (self.name, self.question, self.sql);
        json!({"name": name, "question": question, "parameters": parameters, "sql": sql})
    }
}

impl Parameter {
    /// `name (required)`, `name (default 30)` or `name (default 3 intervals of occupancy)`.
    fn parse(text: &'static str) -> Option<Self> {
        let (name, rest) = text.trim().split_once(' ')?;
        let inside = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
        let default = match inside.strip_prefix("default ") {
            None if inside == "required" => ParameterDefault::Required,
            None => return None,
            Some(value) => match value.split_once(" intervals of ") {
                Some((times, stream)) => {
                    ParameterDefault::Intervals { times: times.parse().ok()?, stream }
                }
                None => ParameterDefault::Value(value),
            },
        };
        Some(Self { name, default })
    }

    fn describe(&self) -> Value {
        let default = match self.default {
            ParameterDefault::Required => Value::Null,
            ParameterDefault::Value(value) => json!(value),
            ParameterDefault::Intervals { times, stream } => {
                json!(format!("{times} intervals of {stream}"))
            }
        };
        let required = self.default == ParameterDefault::Required;
        json!({"name": self.name, "required": required, "default": default})
    }
}

pub(super) async fn list() -> Json<Value> {
    Json(all().iter().map(Question::describe).collect())
}

pub(super) async fn ask(
    State(session): State<Arc<Session>>,
    Path(name): Path<String>,
    Query(given): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let format = accepted(&headers)?;
    let question = Question::named(&name)?;
    let parameters = question.parameters(&given, &session.sources().log)?;
    let answer = session.query(question.sql, &parameters).await?;
    Ok(format.respond(answer, session.limits().rows_max).await?)
}

impl From<QuestionError> for ApiError {
    fn from(error: QuestionError) -> Self {
        let status = match error {
            QuestionError::Unknown { .. } => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
            .hint("GET /v1/questions lists the questions and what they take")
    }
}

#[cfg(test)]
mod tests {
    use super::{ParameterDefault, Question, all};
    use crate::session::Parameters;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn bound(
        name: &str,
        given: &[(&str, &str)],
        interval_s: Option<f64>,
    ) -> Result<Parameters, String> {
        let given: BTreeMap<_, _> =
            given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let question = Question::named(name).map_err(|error| error.to_string())?;
        question.bind(&given, |_| interval_s).map_err(|error| error.to_string())
    }

    #[test]
    fn every_shipped_question_has_a_header() {
        assert!(all().iter().all(|question| question.question.ends_with('?')));
    }

    #[test]
    fn hold_is_three_intervals_of_the_stream_unless_it_is_given() {
        let by_default = bound("unoccupied_rooms", &[("building", "41")], Some(60.0)).unwrap();
        let expected = json!({"building": "41", "hold": 180.0});
        assert_eq!(by_default, Parameters::from_json(expected).unwrap());
        let given = bound("unoccupied_rooms", &[("building", "41"), ("hold", "30")], None).unwrap();
        let expected = json!({"building": "41", "hold": "30"});
        assert_eq!(given, Parameters::from_json(expected).unwrap());
        let error = bound("unoccupied_rooms", &[("building", "41")], None).unwrap_err();
        assert!(error.contains("declares no interval"), "{error}");
    }

    #[test]
    fn missing_and_unknown_parameters_get_a_sentence() {
        let missing = bound("fire_at_site", &[], None).unwrap_err();
        assert_eq!(missing, "the question 'fire_at_site' needs 'site'; it takes site");
        let unknown = bound("fire_at_site", &[("town", "berlin")], None).unwrap_err();
        assert_eq!(unknown, "the question 'fire_at_site' has no parameter 'town'; it takes site");
        assert!(bound("weather", &[], None).unwrap_err().contains("there are air_quality"));
    }

    #[test]
    fn a_header_without_a_kind_of_parameter_is_not_one() {
        assert!(
            Question::parse("x", "-- question: Q?\n-- parameters: a (maybe)\nSELECT 1").is_none()
        );
        let plain =
            Question::parse("x", "-- question: Q?\n-- parameters: a (default 30)\nSELECT 1");
        assert_eq!(plain.unwrap().parameters[0].default, ParameterDefault::Value("30"));
    }
}
