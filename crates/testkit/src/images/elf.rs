//! Tells whether an x86-64 ELF program needs a dynamic loader, which an empty root does not have.

/// `Some(true)` for a program without interpreter, `Some(false)` with one, `None` when it is no 64-bit little-endian ELF.
pub(super) fn is_static(program: &[u8]) -> Option<bool> {
    const PT_INTERP: u64 = 3;
    if program.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let field = program.get(at..at.checked_add(bytes)?)?;
        Some(field.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let at = usize::try_from(table.checked_add(index * size)?).ok()?;
        if number(at, 4)? == PT_INTERP {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_of_a_usual_program_is_seen() {
        assert_eq!(is_static(&std::fs::read("/bin/true").unwrap()), Some(false));
    }

    #[test]
    fn a_header_without_program_table_is_static_and_a_script_is_no_program() {
        let mut header = vec![0u8; 64];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert_eq!(is_static(&header), Some(true));
        assert_eq!(is_static(b"#!/bin/sh\n"), None);
    }
}
