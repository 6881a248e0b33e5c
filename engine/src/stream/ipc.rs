//! A batch as bytes, for a checkpoint.
//!
//! Promise: what is decoded is what was encoded; equal batches are equal bytes.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use std::io::Cursor;

/// The bytes of a batch.
/// # Errors
/// Arrow's, for a type that it does not write.
pub fn encode(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(batch)?;
    writer.finish()?;
    writer.into_inner()
}

/// The batch of these bytes.
/// # Errors
/// They are not those of a batch.
pub fn decode(bytes: &[u8]) -> Result<RecordBatch, ArrowError> {
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    let none = || ArrowError::IpcError("there is no batch".to_owned());
    reader.next().ok_or_else(none)?
}
