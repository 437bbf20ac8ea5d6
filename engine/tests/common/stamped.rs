//! Metas that tell a reader whether it saw the whole of one version, and of which.

/// A meta of a round: its number, and then, up to `len` bytes, bytes that follow from topic, key, round and length.
pub(crate) fn meta(topic: &[u8], key: &[u8], round: u64, len: usize) -> Vec<u8> {
    let mut meta = round.to_le_bytes().to_vec();
    let mut state = topic.iter().chain(key).fold(round ^ len as u64, |state, &byte| {
        (state.rotate_left(9) ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    while meta.len() < len {
        state = state.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ 0xa5;
        meta.push(state.to_le_bytes()[7]);
    }
    meta
}

/// The round of a meta, which must be whole and of that topic and key.
pub(crate) fn whole(topic: &[u8], key: &[u8], held: &[u8]) -> u64 {
    let round = held.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).expect("a whole meta");
    assert_eq!(held, meta(topic, key, round, held.len()), "a torn meta of {}", String::from_utf8_lossy(key));
    round
}
