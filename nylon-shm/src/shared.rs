//! A checked view of shared bytes: the only place that touches memory another process writes.
//!
//! Nothing here ever makes a reference to plain shared bytes. Words are atomics; everything else is copied through raw
//! pointers, once, into private memory.

use core::ptr::NonNull;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use bytes::BytesMut;
use memmap2::{MmapOptions, MmapRaw};
use rustix::mm::Advice;

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Whether this side may write a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Own segment.
    ReadWrite,
    /// The peer's segment.
    ReadOnly,
}

/// A whole segment, mapped. Unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: MmapRaw,
    access: Access,
}

impl Mapping {
    /// Maps `len` bytes of `fd` and keeps them out of core dumps. A page is mapped when it is touched first.
    ///
    /// # Errors
    /// What mmap says.
    pub(crate) fn new(fd: impl AsFd, len: usize, access: Access) -> io::Result<Self> {
        let raw = fd.as_fd().as_raw_fd();
        let mut options = MmapOptions::new();
        options.len(len);
        let map = match access {
            Access::ReadWrite => options.map_raw(raw)?,
            Access::ReadOnly => options.map_raw_read_only(raw)?,
        };
        // SAFETY: the range is the mapping just made; DONTDUMP does not change its contents or protection.
        let advised =
            unsafe { rustix::mm::madvise(map.as_mut_ptr().cast(), len, Advice::LinuxDontDump) };
        advised?;
        Ok(Self { map, access })
    }

    /// Whether this side is the owner.
    pub(crate) fn is_writable(&self) -> bool {
        self.access == Access::ReadWrite
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// The atomic word at `offset`.
    ///
    /// # Panics
    /// If it does not lie inside, or is not 4-aligned. Offsets come from this crate, never from a peer.
    pub(crate) fn u32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.len(), "offset {offset:#x}");
        // SAFETY: inside the mapping and aligned (asserted); the mapping lives as long as `self`; all access of both
        // processes to this word is atomic. A store through a read-only mapping would fault, and only the owner of a
        // word stores to it (`ring`, the single writer of SPEC.md 2.4).
        unsafe { AtomicU32::from_ptr(self.at(offset).as_ptr().cast()) }
    }

    /// The atomic double word at `offset`.
    ///
    /// # Panics
    /// If it does not lie inside, or is not 8-aligned.
    pub(crate) fn u64(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len(), "offset {offset:#x}");
        // SAFETY: as for `u32`.
        unsafe { AtomicU64::from_ptr(self.at(offset).as_ptr().cast()) }
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Panics
    /// If they do not fit, or the mapping is the peer's.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(self.access == Access::ReadWrite && self.holds(offset, bytes.len()));
        // SAFETY: the destination is inside a writable mapping (asserted) and cannot overlap a private slice. The peer
        // may read it at the same time only by breaking the protocol, and then only harms itself.
        unsafe { self.at(offset).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    /// Appends a copy of `len` bytes at `offset` to `out`, reading each byte once.
    ///
    /// # Panics
    /// If they do not lie inside.
    pub(crate) fn read(&self, offset: usize, len: usize, out: &mut BytesMut) {
        assert!(self.holds(offset, len));
        out.reserve(len);
        let start = out.len();
        // SAFETY: the source is inside the mapping (asserted); the destination is spare capacity of `out`, which
        // `reserve` made at least `len` long; `copy_out` initialises all of it before `set_len`.
        unsafe {
            copy_out(self.at(offset).as_ptr(), out.as_mut_ptr().add(start), len);
            out.set_len(start + len);
        }
    }

    /// Writes `words` at `offset`, one by one: the compiler joins no atomic stores, and a wider copy would wait for what
    /// may just have been written in pieces.
    ///
    /// # Panics
    /// If they do not fit, `offset` is not 8-aligned, or the mapping is the peer's.
    pub(crate) fn write_words(&self, offset: usize, words: &[u64]) {
        assert!(self.access == Access::ReadWrite && offset.is_multiple_of(8));
        assert!(self.holds(offset, size_of_val(words)));
        let to: *mut u64 = self.at(offset).as_ptr().cast();
        for (i, word) in words.iter().enumerate() {
            // SAFETY: inside a writable mapping and 8-aligned (asserted).
            unsafe { AtomicU64::from_ptr(to.add(i)).store(*word, Ordering::Relaxed) };
        }
    }

    /// Copies `bytes` to `offset` in words of 8, with zeros after them up to `len`, which is whole words.
    ///
    /// # Panics
    /// As [`Self::write_words`], or if there are more than `len` of them.
    pub(crate) fn write_padded(&self, offset: usize, bytes: &[u8], len: usize) {
        assert!(self.access == Access::ReadWrite && offset.is_multiple_of(8));
        assert!(bytes.len() <= len && len.is_multiple_of(8) && self.holds(offset, len));
        let to: *mut u64 = self.at(offset).as_ptr().cast();
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let tail = std::iter::once(&last).chain(std::iter::repeat(&[0; 8]));
        for (i, word) in words.iter().chain(tail).take(len / 8).enumerate() {
            // SAFETY: inside a writable mapping and 8-aligned (asserted).
            unsafe {
                AtomicU64::from_ptr(to.add(i)).store(u64::from_ne_bytes(*word), Ordering::Relaxed)
            };
        }
    }

    /// Copies words of 8 bytes from `offset` out, reading each once.
    ///
    /// # Panics
    /// If they do not lie inside, or `offset` is not 8-aligned.
    pub(crate) fn read_words<const L: usize>(&self, offset: usize) -> [u64; L] {
        assert!(offset.is_multiple_of(8) && self.holds(offset, L * 8));
        let from: *mut u64 = self.at(offset).as_ptr().cast();
        std::array::from_fn(|i| {
            // SAFETY: inside the mapping and 8-aligned (asserted).
            unsafe { AtomicU64::from_ptr(from.add(i)).load(Ordering::Relaxed) }
        })
    }

    fn holds(&self, offset: usize, len: usize) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len())
    }

    /// The byte at `offset <= len`.
    fn at(&self, offset: usize) -> NonNull<u8> {
        // SAFETY: callers assert `offset <= len`, so the sum stays inside the mapping, which is never at null.
        unsafe { NonNull::new_unchecked(self.map.as_mut_ptr().add(offset)) }
    }
}

/// Copies `len` bytes out of memory another process may be writing.
///
/// The compiler must neither repeat nor split these reads behind our back (a check on the copy would then say nothing
/// about the bytes used), so they are atomic words or one opaque instruction. A torn value is the peer's own doing and
/// is caught by the checks on the copy.
///
/// # Safety
/// `from` is readable and `to` writable for `len` bytes; they do not overlap; `to` is private.
unsafe fn copy_out(from: *const u8, to: *mut u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if len > 256 {
        // SAFETY: ranges as promised by the caller; `rep movsb` copies forward exactly `len` bytes (DF is clear by the
        // ABI) and touches nothing else.
        unsafe {
            core::arch::asm!(
                "rep movsb",
                inout("rcx") len => _, inout("rsi") from => _, inout("rdi") to => _,
                options(nostack, preserves_flags)
            );
        }
        return;
    }
    let mut done = 0;
    if from.addr().is_multiple_of(8) {
        while done + 8 <= len {
            // SAFETY: `done + 8 <= len` keeps both inside; `from + done` is 8-aligned; the private side may be unaligned.
            unsafe {
                let word =
                    AtomicU64::from_ptr(from.add(done).cast_mut().cast()).load(Ordering::Relaxed);
                to.add(done).cast::<u64>().write_unaligned(word);
            }
            done += 8;
        }
    }
    while done < len {
        // SAFETY: `done < len` keeps both inside.
        unsafe { to.add(done).write(from.add(done).read_volatile()) };
        done += 1;
    }
}

/// Duplicates nothing, closes nothing: the length of a memfd as the kernel knows it.
///
/// # Errors
/// What fstat says.
pub(crate) fn file_len(fd: impl AsFd) -> io::Result<u64> {
    let file = File::from(fd.as_fd().try_clone_to_owned()?);
    Ok(file.metadata()?.len())
}
