//! Bytes of a peer's as text that does no harm to a terminal.

/// Which bytes are written as `\xNN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escaping {
    /// Control bytes, newlines excepted, everything beyond ASCII, and the backslash, so that no
    /// peer can write what looks like an escape.
    ControlAndBeyondAscii,
    /// Only what is not valid UTF-8, so that text stays as it is and the output is text.
    InvalidUtf8,
}

/// What stands for the rest where a text is cut.
const CUT: &[u8] = b"...";

/// Appends at most `longest_bytes` of text for `bytes`, and dots if that is not all of it. No
/// escape and no character is cut in two.
pub fn append(text: &mut Vec<u8>, bytes: &[u8], escaping: Escaping, longest_bytes: usize) {
    let end = text.len() + longest_bytes;
    let complete = match escaping {
        Escaping::ControlAndBeyondAscii => append_ascii(text, bytes, end),
        Escaping::InvalidUtf8 => append_utf8(text, bytes, end),
    };
    if !complete {
        text.extend_from_slice(CUT);
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
        let fitting = valid.floor_char_boundary(end - text.len());
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

    fn appended(bytes: &[u8], escaping: Escaping, longest_bytes: usize) -> String {
        let mut text = b"- ".to_vec();
        append(&mut text, bytes, escaping, longest_bytes);
        String::from_utf8(text).expect("what is printed is text")
    }

    #[test]
    fn what_could_harm_a_terminal_is_escaped() {
        let escaped = |bytes| appended(bytes, Escaping::ControlAndBeyondAscii, 100);
        assert_eq!(escaped(b"GET /\r\nA: b~"), "- GET /\\x0d\nA: b~");
        assert_eq!(escaped(b"a\\x1b"), "- a\\x5cx1b");
        assert_eq!(escaped(b"\x1b[2J\0\x7f\xc3\xa9\t"), "- \\x1b[2J\\x00\\x7f\\xc3\\xa9\\x09");
    }

    #[test]
    fn text_stays_text_where_only_invalid_bytes_are_escaped() {
        let escaped = |bytes| appended(bytes, Escaping::InvalidUtf8, 100);
        assert_eq!(escaped("é\r\n\x1b".as_bytes()), "- é\r\n\x1b");
        assert_eq!(escaped(b"a\xffb\xc3"), "- a\\xffb\\xc3");
    }

    #[test]
    fn a_cut_hits_no_escape_and_no_character() {
        let ascii = Escaping::ControlAndBeyondAscii;
        assert_eq!(appended(b"abcd", ascii, 4), "- abcd");
        assert_eq!(appended(b"abcde", ascii, 4), "- abcd...");
        assert_eq!(appended(b"a\0", ascii, 4), "- a...");
        assert_eq!(appended("aé".as_bytes(), Escaping::InvalidUtf8, 2), "- a...");
        assert_eq!(appended(b"a\xff", Escaping::InvalidUtf8, 4), "- a...");
    }
}
