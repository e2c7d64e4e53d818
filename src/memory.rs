//! Memory for what is large.

/// From here on large pages pay.
const LARGE: usize = 4 << 20;

/// Room for so many bytes. Where it is large the kernel is asked for large pages: to get the small ones, one
/// fault each, takes longer than to fill them.
pub(crate) fn room(bytes: usize) -> Vec<u8> {
    let mut room = Vec::with_capacity(bytes);
    if bytes >= LARGE {
        in_large_pages(&mut room);
    }
    room
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "rustix has one function for all advice, and some of it drops what is there")]
fn in_large_pages(room: &mut Vec<u8>) {
    use rustix::mm::{Advice, madvise};

    let page = rustix::param::page_size();
    let room = room.spare_capacity_mut();
    let skipped = room.as_ptr().align_offset(page);
    let Some(pages) = room.get_mut(skipped..) else { return };
    let length = pages.len() / page * page;
    // SAFETY: the pages are part of memory that is ours alone. This advice changes how the kernel backs them
    // and not what is in them. If it is not taken, the pages are small.
    let _ = unsafe { madvise(pages.as_mut_ptr().cast(), length, Advice::LinuxHugepage) };
}

#[cfg(not(target_os = "linux"))]
fn in_large_pages(_: &mut Vec<u8>) {}
