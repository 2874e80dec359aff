//! What the file of a program is, as far as its first bytes say.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What a file is to the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// An ELF program, or anything else: starting it will tell.
    Other,
    /// A shared object, which has no start.
    Library,
    /// Runs only where this is: the interpreter of a script, the loader of an ELF program.
    Needs(String),
}

/// What the kernel reads of a script's first line.
const FIRST_LINE: usize = 256;
/// `e_type` of shared objects and of programs that may be loaded anywhere.
const ET_DYN: u64 = 3;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_FLAGS_1: u64 = 0x6fff_fffb;
/// Marks a program that may be loaded anywhere and needs no loader.
const DF_1_PIE: u64 = 0x0800_0000;

impl Program {
    /// Looks into the file; one that cannot be read is [`Program::Other`].
    pub(super) fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension == "so") {
            return Self::Library;
        }
        File::open(path).and_then(|file| Self::read(&file)).unwrap_or(Self::Other)
    }

    fn read(file: &File) -> io::Result<Self> {
        let mut start = Vec::new();
        file.take(FIRST_LINE as u64).read_to_end(&mut start)?;
        if let Some(line) = start.strip_prefix(b"#!") {
            let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let path = line.trim_start_matches([' ', '\t']).split([' ', '\t']).next();
            return Ok(path.map_or(Self::Other, |path| Self::Needs(path.to_owned())));
        }
        // 64 bits, little-endian: all that this host runs on.
        if start.starts_with(b"\x7fELF\x02\x01") {
            Self::elf(file, &start)
        } else {
            Ok(Self::Other)
        }
    }

    fn elf(file: &File, header: &[u8]) -> io::Result<Self> {
        let (segments, size) = (number(header, 32, 8), number(header, 54, 2));
        let mut pie = false;
        for index in 0..number(header, 56, 2) {
            let segment = piece(file, segments.saturating_add(index * size), 56)?;
            let (offset, len) = (number(&segment, 8, 8), number(&segment, 32, 8).min(64 * 1024));
            match number(&segment, 0, 4) {
                PT_INTERP => {
                    let loader = piece(file, offset, len)?;
                    let loader = String::from_utf8_lossy(&loader).into_owned();
                    return Ok(Self::Needs(loader.trim_end_matches('\0').to_owned()));
                }
                PT_DYNAMIC => {
                    pie |= piece(file, offset, len)?.chunks_exact(16).any(|entry| {
                        number(entry, 0, 8) == DT_FLAGS_1 && number(entry, 8, 8) & DF_1_PIE != 0
                    });
                }
                _ => {}
            }
        }
        let library = number(header, 16, 2) == ET_DYN && !pie;
        Ok(if library { Self::Library } else { Self::Other })
    }
}

fn piece(file: &File, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// The little-endian number of `len` bytes at `at`; what is not there is zero.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let bytes = bytes.get(at..at + len).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::Program;
    use std::path::{Path, PathBuf};

    /// A file that is removed with the test.
    struct Temp(PathBuf);

    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn of(name: &str, content: &[u8]) -> Program {
        let name = format!("nylon-program-{}-{name}", std::process::id());
        let file = Temp(std::env::temp_dir().join(name));
        std::fs::write(&file.0, content).unwrap();
        Program::of(&file.0)
    }

    /// An ELF file of type `kind` whose segments are a dynamic one with `flags`, and `interpreter`.
    fn elf(kind: u8, flags: u32, interpreter: Option<&str>) -> Vec<u8> {
        const DYNAMIC: u8 = 64 + 2 * 56;
        const END: u8 = DYNAMIC + 16;
        let mut file = vec![0; END.into()];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16] = kind;
        file[32] = 64;
        file[54] = 56;
        file[56] = 2;
        let dynamic = usize::from(DYNAMIC);
        file[dynamic..dynamic + 4].copy_from_slice(&0x6fff_fffb_u32.to_le_bytes());
        file[dynamic + 8..dynamic + 12].copy_from_slice(&flags.to_le_bytes());
        (file[64], file[64 + 8], file[64 + 32]) = (2, DYNAMIC, 16);
        if let Some(path) = interpreter {
            let len = u8::try_from(path.len() + 1).unwrap();
            (file[120], file[120 + 8], file[120 + 32]) = (3, END, len);
            file.extend(path.as_bytes());
            file.push(0);
        }
        file
    }

    #[test]
    fn libraries_have_no_start() {
        assert_eq!(of("named.so", b""), Program::Library);
        assert_eq!(of("library", &elf(3, 0, None)), Program::Library);
        assert_eq!(of("static-pie", &elf(3, 0x0800_0001, None)), Program::Other);
        assert_eq!(of("static", &elf(2, 0, None)), Program::Other);
        let loader = "/lib64/ld-linux-x86-64.so.2";
        assert_eq!(of("pie", &elf(3, 0, Some(loader))), Program::Needs(loader.into()));
        assert!(matches!(Program::of(Path::new("/proc/self/exe")), Program::Needs(_)));
    }

    #[test]
    fn scripts_need_their_interpreter() {
        assert_eq!(of("script", b"#! /bin/sh -e\nexit\n"), Program::Needs("/bin/sh".into()));
        assert_eq!(of("crlf", b"#!/bin/sh\r\n"), Program::Needs("/bin/sh\r".into()));
        assert_eq!(of("text", b"exit\n"), Program::Other);
        assert_eq!(of("empty", b""), Program::Other);
    }

    #[test]
    fn damaged_files_are_left_to_the_kernel() {
        let whole = elf(3, 0, Some("/lib/ld.so"));
        for end in 0..whole.len() {
            let _ = of("cut", &whole[..end]);
        }
        let mut far = whole;
        far[32..40].fill(0xff);
        assert_eq!(of("far", &far), Program::Other);
    }
}
