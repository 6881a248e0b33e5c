//! A checkpoint as an Arrow IPC file: one batch of (part, content), sorted by part.
//!
//! Promise: equal states are equal bytes. The content of a part is postcard; what each holds stands in
//! docs/FORMAT.md.

use super::Snapshot;
use arrow::array::{Array, AsArray, LargeBinaryArray, RecordBatch, StringArray};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use std::io::Cursor;
use std::sync::Arc;

/// The parts there are: one, so far.
const RULE: &str = "rule";

/// The bytes of a snapshot.
pub(super) fn encode(snapshot: &Snapshot) -> Result<Vec<u8>, String> {
    let text = |error: arrow::error::ArrowError| error.to_string();
    let content = postcard::to_extend(snapshot, Vec::new()).map_err(|e| e.to_string())?;
    let batch = RecordBatch::try_from_iter([
        ("part", Arc::new(StringArray::from(vec![RULE])) as Arc<dyn Array>),
        ("content", Arc::new(LargeBinaryArray::from_vec(vec![&content])) as Arc<dyn Array>),
    ])
    .map_err(text)?;
    let mut writer = FileWriter::try_new(Vec::new(), batch.schema_ref()).map_err(text)?;
    writer.write(&batch).and_then(|()| writer.finish()).map_err(text)?;
    writer.into_inner().map_err(text)
}

/// The snapshot behind bytes that hash to what they should.
pub(super) fn decode(bytes: &[u8]) -> Result<Snapshot, String> {
    let text = |error: arrow::error::ArrowError| error.to_string();
    for batch in FileReader::try_new(Cursor::new(bytes), None).map_err(text)? {
        let batch = batch.map_err(text)?;
        let parts = batch.column_by_name("part").and_then(|c| c.as_string_opt::<i32>());
        let contents = batch.column_by_name("content").and_then(|c| c.as_binary_opt::<i64>());
        let (Some(parts), Some(contents)) = (parts, contents) else { continue };
        if let Some(row) = parts.iter().position(|part| part == Some(RULE)) {
            return postcard::from_bytes(contents.value(row)).map_err(|e| e.to_string());
        }
    }
    Err(format!("it has no part '{RULE}'"))
}
