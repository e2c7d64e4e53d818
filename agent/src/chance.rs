//! Bytes by chance for tests that feed what reads them.

/// Numbers by xorshift: the same in every run.
pub(crate) fn numbers() -> impl FnMut() -> u64 {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}
