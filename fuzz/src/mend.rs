//! Makes checksums right, so that what is behind them is reached; docs/FORMAT.md has the places.

const HEADER: usize = 128;
const ALIGN: usize = 64;
const TRAILER: usize = 64;

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

fn body_bytes(header: &[u8]) -> usize {
    let field = header[12..16].first_chunk().copied().unwrap_or_default();
    u32::from_le_bytes(field) as usize
}

/// The frame at the start of `bytes`: its length is made to fit, its checksums are made right. Bytes
/// of the frame with its padding.
pub fn frame(bytes: &mut [u8]) -> Option<usize> {
    let rest = bytes.len().checked_sub(HEADER)?;
    let body = body_bytes(bytes).min(rest);
    put(bytes, 12, &u32::try_from(body).ok()?.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[HEADER..HEADER + body]);
    put(bytes, 120, &sum.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..124]);
    put(bytes, 124, &sum.to_le_bytes());
    Some(HEADER + body.next_multiple_of(ALIGN))
}

/// Every frame of a segment of partition `uid`, one after another.
pub fn segment(bytes: &mut [u8], uid: u64) {
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| rest.len() >= HEADER) {
        if !rest.starts_with(b"WEIR") {
            at += ALIGN;
            continue;
        }
        put(rest, 40, &uid.to_le_bytes());
        match frame(rest) {
            Some(length) => at += length,
            None => return,
        }
    }
}

/// The trailer at the end of `bytes`, and the frames it points to.
pub fn seal(bytes: &mut [u8], uid: u64) {
    let Some(end) = bytes.len().checked_sub(TRAILER) else { return };
    let trailer = &mut bytes[end..];
    put(trailer, 0, b"WEIRSEAL");
    let field = trailer[8..16].first_chunk().copied().unwrap_or_default();
    let position = usize::try_from(u64::from_le_bytes(field)).unwrap_or(usize::MAX).min(end);
    let position = position - position % ALIGN;
    put(trailer, 8, &(position as u64).to_le_bytes());
    put(trailer, 16, &((end - position) as u64).to_le_bytes());
    put(trailer, 24, &uid.to_le_bytes());
    put(trailer, 32, &1_u32.to_le_bytes());
    let sum = crc32c::crc32c(&trailer[..60]);
    put(trailer, 60, &sum.to_le_bytes());
    segment(&mut bytes[position..end], uid);
}
