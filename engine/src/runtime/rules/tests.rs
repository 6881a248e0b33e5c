use super::*;
use arrow::datatypes::{Field, Schema};

fn output(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, t)| Field::new(*name, t.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[test]
fn a_column_that_two_rules_give_with_different_types_is_left_out() {
    let outputs = [
        output(&[("floor", DataType::Utf8), ("level", DataType::Float64)]),
        output(&[("floor", DataType::Utf8), ("level", DataType::Int64)]),
        output(&[("level", DataType::Float64), ("n", DataType::Int64)]),
    ];
    let expected = [("floor".to_owned(), DataType::Utf8), ("n".to_owned(), DataType::Int64)].into();
    assert_eq!(columns_of(outputs.iter()), expected);
}
