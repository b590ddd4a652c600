//! The date that servers put into answers, by which two right ones may differ.

/// What each place holds: a capital, a small letter, a digit, or just that.
const FORM: &[u8; 29] = b"Aaa, 00 Aaa 0000 00:00:00 GMT";

/// Where the letters `GMT` stand, which are themselves.
const ZONE: usize = 26;

/// Whether a header's value is a date in the one form that servers write
/// (`Sun, 06 Nov 1994 08:49:37 GMT`).
pub(super) fn is_of_the_clock(value: &[u8]) -> bool {
    value.len() == FORM.len() && value.iter().enumerate().all(|(at, &byte)| fits(at, byte))
}

/// Whether that byte can stand at that place of such a date. It needs nothing but the place, so
/// that a date can come in pieces.
pub(super) fn fits(at: usize, byte: u8) -> bool {
    match FORM[at] {
        _ if at >= ZONE => byte == FORM[at],
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'0' => byte.is_ascii_digit(),
        itself => byte == itself,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_told_from_others() {
        assert!(is_of_the_clock(b"Sun, 06 Nov 1994 08:49:37 GMT"));
        for other in [
            &b"Mon, 1 Jan 1996 01:01:01 GMT"[..],
            b"Sun, 06 Nov 1994 08:49:37 CET",
            b"Sun, 06 Nov 1994 08:49:3x GMT",
            b"sun, 06 Nov 1994 08:49:37 GMT",
            b"",
        ] {
            assert!(!is_of_the_clock(other), "{}", other.escape_ascii());
        }
    }
}
