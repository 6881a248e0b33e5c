//! Which rules may be shared out among processes.
//!
//! Promise: a rule that runs here gives the same alarms however its stream's partitions are shared out;
//! one that would not is refused by name, with what to do about it, before anything is read.

use crate::runtime::replay::definitions::ReplayedRule;
use crate::sql::plan::Key;
use crate::sql::{RuleStatement, SqlError};
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Select, SelectItem, SetExpr, TableFactor,
};
use weir_ingest::kafka::KafkaTopic;
use weir_ingest::model::StreamDefinition;

const ELSEWHERE: &str = "run in one process or repartition";

/// Checks a rule over the stream whose rows are in `topic`.
/// # Errors
/// Its alarms would depend on how partitions are shared out.
pub(super) fn check(
    rule: &ReplayedRule,
    topics: impl Fn(&str) -> Option<KafkaTopic>,
) -> Result<(), SqlError> {
    let (name, plan) = (&rule.identity.name, rule.plan());
    let refused = |why: &str| SqlError::new(format!("rule '{name}' {why}: {ELSEWHERE}"));
    if plan.into.is_some() {
        return Err(refused("writes a stream, which the cluster does not keep yet"));
    }
    let [stream] = plan.streams.as_slice() else {
        return Err(refused("reads several streams, whose partitions may be in several processes"));
    };
    if !plan.latest.is_empty() {
        return Err(refused("looks at latest values, which may be in several processes"));
    }
    if stream.options().expected.is_some() {
        let why = "reads a stream that expects sensors, which may be in several processes";
        return Err(refused(why));
    }
    let Some(topic) = topics(stream.name()) else {
        return Err(refused("reads a stream without a topic"));
    };
    let levels = key_levels(&plan.key, rule.statement(), stream);
    if topic.is_decided_by(stream, &levels) {
        return Ok(());
    }
    let topic_name = &topic.name;
    let message = format!(
        "the KEY of rule '{name}' does not determine the partition of the topic '{topic_name}': {ELSEWHERE}"
    );
    Err(SqlError::new(message).with_hint(format!(
        "the records of '{topic_name}' are keyed by {}; the KEY has to hold all of that, as plain columns of the SELECT",
        keyed_by(&topic, stream)
    )))
}

fn keyed_by(topic: &KafkaTopic, stream: &StreamDefinition) -> String {
    match &topic.keyed_by {
        weir_ingest::kafka::KeyedBy::Topic => {
            format!("the topic path ({})", stream.levels().join(", "))
        }
        weir_ingest::kafka::KeyedBy::Levels(levels) => levels.join(", "),
    }
}

/// The columns of the stream that a key holds as they are. Nothing where that cannot be seen at once:
/// a subquery may give any value the name of a level.
fn key_levels(key: &Key, statement: &RuleStatement, stream: &StreamDefinition) -> Vec<String> {
    let Key::Columns(columns) = key else { return vec!["topic".to_owned()] };
    let Some(select) = plain_select(statement) else { return Vec::new() };
    let level = |(name, _): &(String, usize)| source_of(select, name);
    let known = |level: &String| level == "topic" || stream.levels().contains(level);
    columns.iter().filter_map(level).filter(known).collect()
}

/// The SELECT of a statement that reads its stream, or windows over it, directly.
fn plain_select(statement: &RuleStatement) -> Option<&Select> {
    let SetExpr::Select(select) = statement.query.body.as_ref() else { return None };
    let [from] = select.from.as_slice() else { return None };
    let direct = matches!(
        from.relation,
        TableFactor::Table { .. }
            | TableFactor::TableFunction { .. }
            | TableFactor::Function { .. }
    );
    let is_grouped_by_all = matches!(select.group_by, GroupByExpr::All(_));
    (direct && statement.query.with.is_none() && !is_grouped_by_all).then_some(select)
}

/// The column that an output column is, unchanged.
fn source_of(select: &Select, output: &str) -> Option<String> {
    let column = |expr: &Expr| match expr {
        Expr::Identifier(name) => Some(name.value.to_ascii_lowercase()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|p| p.value.to_ascii_lowercase()),
        _ => None,
    };
    select.projection.iter().find_map(|item| match item {
        SelectItem::UnnamedExpr(expr) => column(expr).filter(|name| name == output),
        SelectItem::ExprWithAlias { expr, alias } if alias.value.eq_ignore_ascii_case(output) => {
            column(expr)
        }
        SelectItem::Wildcard(_) => Some(output.to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::shared::definitions;
    use super::*;
    use weir_ingest::kafka::KeyedBy;

    /// Why the rule of these definitions is refused, where the stream's topic is keyed so.
    fn refused(keyed_by: &KeyedBy, rule: &str) -> Option<String> {
        let stream = "CREATE STREAM climate (celsius DOUBLE) TOPIC '/{site}/{room}';";
        let definitions = definitions(&format!("{stream}\n{rule}")).unwrap();
        let topic = KafkaTopic {
            name: "climate".to_owned(),
            partitions: 4,
            keyed_by: keyed_by.clone(),
            group: "plant".to_owned(),
        };
        let rule = definitions.rules.last().unwrap();
        check(rule, |_| Some(topic.clone())).err().map(|error| error.to_string())
    }

    const MEAN: &str = "RAISE WHEN c > 3 AS SELECT COLUMNS, avg(celsius) AS c \
        FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) \
        GROUP BY COLUMNS, window_start, window_end;";

    fn mean(key: &str, columns: &str) -> String {
        format!("CREATE RULE hot KEY ({key}) {}", MEAN.replace("COLUMNS", columns))
    }

    #[test]
    fn a_rule_runs_whose_key_holds_what_the_topic_is_keyed_by() {
        let by_site = KeyedBy::Levels(vec!["site".to_owned()]);
        let reading = "CREATE RULE hot KEY (site, room) RAISE WHEN celsius > 3 \
            AS SELECT site, room, celsius FROM climate;";
        assert_eq!(refused(&KeyedBy::Topic, reading), None);
        assert_eq!(refused(&by_site, reading), None);
        assert_eq!(refused(&by_site, &mean("site", "site")), None);
        assert_eq!(refused(&KeyedBy::Topic, &mean("site, room", "site, room")), None);
    }

    #[test]
    fn a_rule_whose_key_does_not_determine_the_partition_is_refused_with_what_to_do() {
        let by_site = KeyedBy::Levels(vec!["site".to_owned()]);
        for (keyed_by, rule) in [
            (KeyedBy::Topic, mean("site", "site")),
            (by_site.clone(), mean("room", "room")),
            (
                by_site,
                "CREATE RULE hot KEY (site) RAISE WHEN celsius > 3 \
                 AS SELECT upper(room) AS site, celsius FROM climate;"
                    .to_owned(),
            ),
        ] {
            let why = refused(&keyed_by, &rule).unwrap_or_else(|| panic!("taken: {rule}"));
            assert!(why.contains("the KEY of rule 'hot' does not determine"), "{why}");
            assert!(why.contains("run in one process or repartition"), "{why}");
        }
    }

    #[test]
    fn a_rule_that_writes_a_stream_is_refused() {
        let derived = "CREATE STREAM means TOPIC '/mean/{site}/{room}' AS SELECT site, room, avg(celsius) AS c \
            FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) \
            GROUP BY site, room, window_start, window_end;";
        let why = refused(&KeyedBy::Topic, derived).unwrap();
        assert!(why.contains("'means' writes a stream"), "{why}");
    }
}
