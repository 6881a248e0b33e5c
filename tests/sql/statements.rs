//! What people say to the server, before and between readings.

use crate::world::{Rule, World, follow, runtime, text};
use std::sync::Arc;
use weir_engine::alarms::{Command, Target, command_rows};
use weir_engine::runtime::backtest;
use weir_engine::runtime::definition::{
    Planned, RULES, StoredRule, check_expected, forget, planned, relations,
};
use weir_engine::runtime::explain::explain_alarm;
use weir_engine::runtime::follower::RULE_MEMORY_MAX;
use weir_engine::sql::{
    Existing, RuleStatement, ShowWhat, SqlError, StartFrom, Statement, parse_statements,
};
use weir_ingest::log::InternalLog;
use weir_ingest::model::{EventTime, FedBy, StreamDefinition};
use weir_queries::session::{Parameters, Reply};

/// Rows of an answer that a case may ask for.
const ROWS_MAX: usize = 1_000;

/// Why a statement was refused: the server's sentence.
type Refused = Result<(), String>;

fn message(error: SqlError) -> String {
    error.message
}

impl World {
    /// Says the statements of `said`; a refused one is written down.
    /// # Errors
    /// A rule or the log failed.
    pub(crate) fn say(&mut self, said: &str) -> Result<(), String> {
        let now = self.now();
        let statements = match parse_statements(&self.with_ids(said)) {
            Ok(statements) => statements,
            Err(error) => {
                self.scribe.say(now, "refused", "-", &error.message);
                return Ok(());
            }
        };
        for statement in statements {
            if let Err(sentence) = self.execute(statement) {
                self.scribe.say(now, "refused", "-", &sentence);
            }
            self.log().step_committers();
            self.settle()?;
        }
        Ok(())
    }

    /// `ALARM 'hot room=a'` becomes the id of that occurrence.
    fn with_ids(&self, said: &str) -> String {
        let Some((before, rest)) = said.split_once("ALARM '") else { return said.to_owned() };
        let Some((name, after)) = rest.split_once('\'') else { return said.to_owned() };
        let id = self.scribe.occurrence(name).unwrap_or(name);
        format!("{before}ALARM '{id}'{}", self.with_ids(after))
    }

    fn execute(&mut self, statement: Statement) -> Refused {
        match statement {
            Statement::CreateStream { definition, .. } => self.create_stream(definition),
            Statement::AlterStreamAddColumn { stream, column } => {
                self.log().add_column(&stream, column).map(drop).map_err(text)
            }
            Statement::CreateRule(rule) => self.create_rule(rule),
            Statement::DropRule { name, .. } => self.drop_rule(&name),
            Statement::DropStream { name, .. } => self.log().drop_stream(&name).map_err(text),
            Statement::FlushStream { name } => self.flush(&name),
            Statement::CreateTable(table) => self.ask(table.text),
            Statement::Insert(insert) => self.ask(insert.text),
            Statement::Query(query) => self.ask(query.to_string()),
            Statement::Show(ShowWhat::Alarms) => self.ask("SHOW ALARMS".to_owned()),
            Statement::Operate(command) => self.operate(command),
            Statement::ExplainAlarm { id } => {
                let (log, references) = (self.log(), Arc::clone(&self.engine().references));
                let explained = explain_alarm(&log, &references, &id, RULE_MEMORY_MAX, &|| None)
                    .map_err(message)?;
                let now = self.now();
                self.scribe.answer(&[explained], now);
                Ok(())
            }
            Statement::TestRule(test) => {
                let (log, references) = (self.log(), Arc::clone(&self.engine().references));
                let report = backtest::test(&log, &references, test, &|| None).map_err(message)?;
                let now = self.now();
                self.scribe.answer(&[report.table()], now);
                Ok(())
            }
            other => Err(format!("a case cannot say this: {other:?}")),
        }
    }

    fn create_stream(&mut self, definition: StreamDefinition) -> Refused {
        let definition = match self.partitions {
            Some(partitions) => definition.with_partitions(partitions),
            None => definition,
        };
        check_expected(&self.engine().references, &definition).map_err(message)?;
        self.log().create_stream(definition).map(drop).map_err(text)
    }

    fn create_rule(&mut self, statement: RuleStatement) -> Refused {
        let log = self.log();
        let name = statement.name.clone();
        let references = Arc::clone(&self.engine().references);
        let there = self.engine().rules.iter().position(|rule| rule.name == name);
        let replaces = statement.existing == Existing::Replace;
        if there.is_some() && !replaces {
            return Err(format!("there is a rule '{name}' already"));
        }
        let planned = planned(statement, &relations(&log, &references)).map_err(message)?;
        if let Some(there) = there {
            return self.replace_rule(there, &planned);
        }
        if let Some(into) = &planned.plan.into {
            self.create_stream((*into.stream).clone())?;
        }
        let uid = log.catalog().next_uid(RULES).map_err(text)?;
        let stored = StoredRule::starting(&log, &planned, uid, StartFrom::Now);
        let value = serde_json::to_vec(&stored).map_err(text)?;
        log.catalog().put(RULES, &name, &value).map_err(text)?;
        let rule = Rule::open(&log, &references, name, stored)?;
        self.engine().rules.push(rule);
        Ok(())
    }

    /// Its followers have taken everything there is.
    fn replace_rule(&mut self, there: usize, planned: &Planned) -> Refused {
        let log = self.log();
        let rule = &mut self.engine().rules[there];
        let stored = StoredRule::replacing(&rule.stored, &log, planned);
        let value = serde_json::to_vec(&stored).map_err(text)?;
        log.catalog().put(RULES, &rule.name, &value).map_err(text)?;
        if let Some(follower) = &mut rule.follower {
            follower.replace_by(stored.open(&log, planned).map_err(message)?);
        }
        rule.stored = stored;
        Ok(())
    }

    fn drop_rule(&mut self, name: &str) -> Refused {
        let log = self.log();
        let rules = &mut self.engine().rules;
        let place = rules.iter().position(|rule| rule.name == name);
        let mut rule = rules.remove(place.ok_or_else(|| format!("there is no rule '{name}'"))?);
        let at = log.append_clock().draw();
        if let Some(follower) = &mut rule.follower {
            follow(&log, follower, Some(at))?;
        }
        forget(&log, name, &rule.stored).map_err(text)
    }

    /// FLUSH STREAM.
    /// # Errors
    /// There is no such stream.
    fn flush(&mut self, name: &str) -> Refused {
        let stream = self.log().streams().get(name);
        stream.ok_or_else(|| format!("there is no stream '{name}'"))?.begin_flush();
        Ok(())
    }

    /// Flushes all streams.
    /// # Errors
    /// A rule or the log failed.
    pub(crate) fn flush_all(&mut self) -> Result<(), String> {
        for stream in self.log().streams().all() {
            if stream.definition().fed_by() == FedBy::Doors {
                stream.begin_flush();
            }
        }
        self.log().step_committers();
        self.settle()
    }

    fn operate(&mut self, command: Command<String>) -> Refused {
        let command = command.aimed(|alarm_id| self.target(&alarm_id))?;
        let batch = command_rows::encode(&[(EventTime(self.now()), command)]);
        drop(self.log().internal(InternalLog::Commands).append(batch));
        Ok(())
    }

    fn target(&self, alarm_id: &str) -> Result<Target, String> {
        let alarm = self.scribe.book.find(alarm_id).and_then(|alarm| alarm.target());
        alarm.ok_or_else(|| format!("there is no open alarm '{alarm_id}'"))
    }

    /// What the session does by itself; the log is pumped meanwhile.
    fn ask(&mut self, said: String) -> Refused {
        let (log, session) = (self.log(), self.engine().questions());
        let asked = runtime().spawn(async move {
            match session.run(&said, &Parameters::none()).await? {
                Reply::Rows(answer) => answer.collect(ROWS_MAX).await.map(Some),
                Reply::Done(_) => Ok(None),
            }
        });
        while !asked.is_finished() {
            log.step_committers();
            std::thread::yield_now();
        }
        let answer = runtime().block_on(asked).map_err(text)?;
        let (answer, now) = (answer.map_err(|error| error.message())?, self.now());
        if let Some(rows) = answer {
            self.scribe.answer(&rows, now);
        }
        Ok(())
    }
}
