//! Escaping of bytes from a peer, so that they cannot control the terminal.

/// Set of bytes that are written as `\xNN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escaping {
    /// Control characters except newline, bytes outside ASCII, and the backslash, so that a peer
    /// cannot imitate an escape.
    ControlAndNonAscii,
    /// Bytes that are not valid UTF-8. All other text is printed unchanged.
    InvalidUtf8,
}

/// Follows a truncated text.
const ELLIPSIS: &[u8] = b"...";

/// Appends the escaped form of `bytes`, truncated to `max_bytes` and followed by dots then. It is
/// never truncated within an escape or a character.
pub fn append(text: &mut Vec<u8>, bytes: &[u8], escaping: Escaping, max_bytes: usize) {
    let end = text.len() + max_bytes;
    let complete = match escaping {
        Escaping::ControlAndNonAscii => append_ascii(text, bytes, end),
        Escaping::InvalidUtf8 => append_utf8(text, bytes, end),
    };
    if !complete {
        text.extend_from_slice(ELLIPSIS);
    }
}

fn append_ascii(text: &mut Vec<u8>, bytes: &[u8], end: usize) -> bool {
    bytes.iter().all(|&byte| match byte {
        b'\n' | b' '..=b'[' | b']'..=b'~' => append_whole(text, &[byte], end),
        _ => append_whole(text, &escape(byte), end),
    })
}

fn append_utf8(text: &mut Vec<u8>, bytes: &[u8], end: usize) -> bool {
    bytes.utf8_chunks().all(|chunk| {
        let valid = chunk.valid();
        let room = valid.len().min(end - text.len());
        let fitting = (0..=room).rev().find(|&at| valid.is_char_boundary(at)).unwrap_or(0);
        text.extend_from_slice(&valid.as_bytes()[..fitting]);
        fitting == valid.len()
            && chunk.invalid().iter().all(|&byte| append_whole(text, &escape(byte), end))
    })
}

fn append_whole(text: &mut Vec<u8>, piece: &[u8], end: usize) -> bool {
    let fits = text.len() + piece.len() <= end;
    if fits {
        text.extend_from_slice(piece);
    }
    fits
}

fn escape(byte: u8) -> [u8; 4] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appended(bytes: &[u8], escaping: Escaping, max_bytes: usize) -> String {
        let mut text = b"- ".to_vec();
        append(&mut text, bytes, escaping, max_bytes);
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn terminal_controls_are_escaped() {
        let escaped = |bytes| appended(bytes, Escaping::ControlAndNonAscii, 100);
        assert_eq!(escaped(b"GET /\r\nA: b~"), "- GET /\\x0d\nA: b~");
        assert_eq!(escaped(b"a\\x1b"), "- a\\x5cx1b");
        assert_eq!(escaped(b"\x1b[2J\0\x7f\xc3\xa9\t"), "- \\x1b[2J\\x00\\x7f\\xc3\\xa9\\x09");
    }

    #[test]
    fn valid_utf8_is_not_escaped() {
        let escaped = |bytes| appended(bytes, Escaping::InvalidUtf8, 100);
        assert_eq!(escaped("é\r\n\x1b".as_bytes()), "- é\r\n\x1b");
        assert_eq!(escaped(b"a\xffb\xc3"), "- a\\xffb\\xc3");
    }

    #[test]
    fn truncation_keeps_escapes_and_characters_whole() {
        let ascii = Escaping::ControlAndNonAscii;
        assert_eq!(appended(b"abcd", ascii, 4), "- abcd");
        assert_eq!(appended(b"abcde", ascii, 4), "- abcd...");
        assert_eq!(appended(b"a\0", ascii, 4), "- a...");
        assert_eq!(appended("aé".as_bytes(), Escaping::InvalidUtf8, 2), "- a...");
        assert_eq!(appended(b"a\xff", Escaping::InvalidUtf8, 4), "- a...");
    }
}
