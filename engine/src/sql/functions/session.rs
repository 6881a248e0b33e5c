//! What `SESSION` is planned into: `session_start(time, gap)` and `session_end(time, gap)`, gap in
//! microseconds, as window functions OVER (PARTITION BY key ORDER BY time).
//!
//! Promise: over the readings of one key a session ends where the next reading comes `gap` or more
//! after the one before it. A rule does not evaluate them; it finds its sessions in them.

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Expr, PartitionEvaluator, Signature, SortExpr, Volatility, WindowFrame,
    WindowFunctionDefinition, WindowUDF, WindowUDFImpl,
};
use std::sync::{Arc, LazyLock};

/// Which edge of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::sql) enum Edge {
    /// The time of its first reading.
    Start,
    /// The gap after its last one.
    End,
}

static EDGES: LazyLock<[Arc<WindowUDF>; 2]> = LazyLock::new(|| {
    [Edge::Start, Edge::End].map(|edge| Arc::new(WindowUDF::new_from_impl(Udwf::new(edge))))
});

/// The edge of the session that each row of a relation lies in.
pub(in crate::sql) fn call(edge: Edge, time: Expr, gap_us: i64, key: &[Expr]) -> Expr {
    let gap = Expr::Literal(ScalarValue::Int64(Some(gap_us)), None);
    Expr::from(WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(Arc::clone(&EDGES[edge as usize])),
        params: WindowFunctionParams {
            args: vec![time.clone(), gap],
            partition_by: key.to_vec(),
            order_by: vec![SortExpr::new(time, true, false)],
            window_frame: WindowFrame::new(Some(false)),
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    })
}

/// The column that a call becomes above its plan node.
pub(in crate::sql) fn column(call: &Expr) -> Expr {
    Expr::Column(Column::from_name(call.schema_name().to_string()))
}

/// The gap and the key, if `expr` is a call of one.
pub(in crate::sql) fn of(expr: &Expr) -> Option<(i64, &[Expr])> {
    let Expr::WindowFunction(call) = expr else { return None };
    let WindowFunctionDefinition::WindowUDF(udwf) = &call.fun else { return None };
    let udwf = udwf.inner().as_ref() as &dyn std::any::Any;
    udwf.downcast_ref::<Udwf>()?;
    match call.params.args.as_slice() {
        [_, Expr::Literal(ScalarValue::Int64(Some(gap_us)), _)] => {
            Some((*gap_us, &call.params.partition_by))
        }
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Udwf {
    edge: Edge,
    signature: Signature,
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl Udwf {
    fn new(edge: Edge) -> Self {
        let arguments = vec![utc(), DataType::Int64];
        Self { edge, signature: Signature::exact(arguments, Volatility::Immutable) }
    }
}

impl WindowUDFImpl for Udwf {
    fn name(&self) -> &str {
        match self.edge {
            Edge::Start => "session_start",
            Edge::End => "session_end",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _arguments: PartitionEvaluatorArgs<'_>,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Edges(self.edge)))
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), utc(), true)))
    }
}

/// Over the readings of one key, in order of time.
#[derive(Debug)]
struct Edges(Edge);

impl PartitionEvaluator for Edges {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let times = values[0].as_primitive::<TimestampMicrosecondType>().values();
        let gaps = values[1].as_primitive::<Int64Type>().values();
        let mut edges = Vec::with_capacity(rows);
        let mut first = 0;
        for row in 0..rows {
            let last = row + 1 == rows || times[row + 1] - times[row] >= gaps[row];
            if last {
                let edge = match self.0 {
                    Edge::Start => times[first],
                    Edge::End => times[row].saturating_add(gaps[row]),
                };
                edges.resize(row + 1, edge);
                first = row + 1;
            }
        }
        let edges = TimestampMicrosecondArray::from(edges).with_timezone("UTC");
        debug_assert_eq!(edges.len(), rows, "every row lies in a session");
        Ok(Arc::new(edges))
    }
}
