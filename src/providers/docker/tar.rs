//! A tar archive with one file: how the engine takes files for a container (`ustar` in `pax(1)`).

const BLOCK: usize = 512;

/// An archive of one file with this name, mode and content, which belongs to root.
pub(super) fn of(name: &str, mode: u32, content: &[u8]) -> Vec<u8> {
    let mut head = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| head[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000");
    // The checksum counts itself as spaces.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar");
    put(263, "00");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    head[148..156].copy_from_slice(sum.as_bytes());

    let padding = content.len().next_multiple_of(BLOCK) - content.len();
    let mut archive = Vec::with_capacity(BLOCK * 4 + content.len());
    archive.extend_from_slice(&head);
    archive.extend_from_slice(content);
    archive.resize(archive.len() + padding + 2 * BLOCK, 0);
    archive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_whole_blocks_with_a_sum_that_is_right() {
        for length in [0, 1, 511, 512, 513] {
            let archive = of("agent", 0o111, &vec![7; length]);
            assert_eq!(archive.len() % BLOCK, 0);
            assert_eq!(archive.len(), BLOCK + length.next_multiple_of(BLOCK) + 2 * BLOCK);
            let mut head = archive[..BLOCK].to_vec();
            let sum = u32::from_str_radix(std::str::from_utf8(&head[148..154]).expect("digits"), 8);
            head[148..156].copy_from_slice(b"        ");
            assert_eq!(sum.expect("a number"), head.iter().map(|byte| u32::from(*byte)).sum::<u32>());
        }
    }
}
