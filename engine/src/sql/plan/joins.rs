//! Joins of a reading with a reference table, or with the latest values of a stream.

use super::dense::{is_of_series, series_plan};
use super::walk::{Result, WalkError, Walker};
use super::{Branch, LATEST, LatestPlan};
use crate::sql::SqlError;
use crate::stream::latest::index::latest_schema;
use crate::stream::lookup::{From, Lookup, Side, Unmatched};
use crate::stream::pipeline::Stage;
use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::{self, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

/// What is looked up.
enum LookedUp {
    Table(String),
    /// The latest values of a stream.
    Latest(String),
}

/// Latest values are no stream.
pub(super) fn latest_alone(stream: &str) -> WalkError {
    SqlError::new(format!("a rule cannot read latest.{stream} alone"))
        .with_detail("the latest values are looked up for each reading of a stream")
        .with_hint(format!(
            "write FROM stream s JOIN latest.{stream} l ON l.level = s.level, or read {stream} itself"
        ))
        .into()
}

impl Walker<'_> {
    /// The branches of the readings, each with what is looked up.
    pub(super) fn join(&mut self, join: &logical_expr::Join) -> Result<Vec<Branch>> {
        let left = self.looked_up(&join.left);
        let right = self.looked_up(&join.right);
        let (side, what, readings, looked_up) = match (left, right) {
            (None, Some(what)) => (Side::Left, what, &join.left, &join.right),
            (Some(what), None) => (Side::Right, what, &join.right, &join.left),
            (Some(_), Some(_)) => {
                return Err(SqlError::new("a rule's join needs a stream on one side").into());
            }
            (None, None) => {
                return Err(SqlError::new("not yet: joins of two streams")
                    .with_hint(
                        "join a stream with a reference table or with the latest values of a stream \
                         (latest.x), or UNION ALL the streams",
                    )
                    .into());
            }
        };
        let unmatched = match (join.join_type, side) {
            (JoinType::Inner, _) => Unmatched::Drop,
            (JoinType::Left, Side::Left) | (JoinType::Right, Side::Right) => Unmatched::Keep,
            (other, _) => {
                return Err(SqlError::new(format!("a rule cannot use a {other} JOIN here"))
                    .with_hint("write stream JOIN table or stream LEFT JOIN table")
                    .into());
            }
        };
        if join.on.is_empty() || join.null_equality != NullEquality::NullEqualsNothing {
            return Err(SqlError::new("a reference table is joined on equality")
                .with_hint("write JOIN table t ON t.column = stream.column")
                .into());
        }
        let on = join.on.iter().map(|(left, right)| {
            let (reading, looked) = if side == Side::Left { (left, right) } else { (right, left) };
            Ok((
                self.physical(reading, readings.schema())?,
                self.physical(looked, looked_up.schema())?,
            ))
        });
        let on = on.collect::<Result<Vec<_>>>()?;
        let from = match what {
            LookedUp::Table(table) => {
                self.tables.insert(table.clone());
                From::Table(table)
            }
            LookedUp::Latest(stream) => {
                let keys = on.iter().map(|(_, looked)| Arc::clone(looked)).collect();
                self.latest_of(&stream, keys)?
            }
        };
        let lookup = Lookup {
            from,
            on,
            filter: join.filter.as_ref().map(|f| self.physical(f, &join.schema)).transpose()?,
            table_schema: Arc::clone(looked_up.schema().inner()),
            unmatched,
            side,
            schema: Arc::clone(join.schema.inner()),
        };
        let mut branches = self.branches(readings)?;
        branches.iter_mut().for_each(|b| b.pipeline.push(Stage::Lookup(lookup.clone())));
        Ok(branches)
    }

    fn looked_up(&self, plan: &LogicalPlan) -> Option<LookedUp> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.looked_up(&alias.input),
            LogicalPlan::TableScan(scan) => {
                let name = scan.table_name.table();
                if scan.table_name.schema() == Some(LATEST) {
                    return Some(LookedUp::Latest(name.to_owned()));
                }
                let known = self.relations.tables.contains_key(name);
                known.then(|| LookedUp::Table(name.to_owned()))
            }
            _ => None,
        }
    }

    /// One more join with the latest values of a stream.
    fn latest_of(&mut self, name: &str, keys: Vec<Arc<dyn PhysicalExpr>>) -> Result<From> {
        let Some(definition) = self.relations.streams.get(name).map(Arc::clone) else {
            return Err(SqlError::new(format!("there is no stream '{name}'")).into());
        };
        let schema = latest_schema(&definition);
        if let Some(other) = keys.iter().find(|key| !is_of_series(key, &definition, &schema)) {
            return Err(SqlError::new(format!(
                "latest.{name} is joined on its levels or its topic; {other} is neither"
            ))
            .with_detail("the newest value of a series is found by what names the series")
            .with_hint(format!(
                "write ON l.{} = s.{0}, and what else must hold behind AND or in WHERE",
                definition.levels().first().map_or("topic", String::as_str)
            ))
            .into());
        }
        let plan = Arc::new(series_plan(Arc::clone(&definition), &schema, keys, Vec::new())?);
        let stream = self.place_of(&definition);
        let known = self.latest.iter().position(|latest| latest.stream == stream);
        let place = known.unwrap_or_else(|| {
            self.latest.push(LatestPlan { stream, joins: Vec::new() });
            self.latest.len() - 1
        });
        self.latest[place].joins.push(plan);
        Ok(From::Latest { place, join: self.latest[place].joins.len() - 1 })
    }
}
