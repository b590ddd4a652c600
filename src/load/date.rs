//! The `Date` of a response, the one header that may differ between correct responses.

/// The fixed-length form of RFC 9110, section 5.6.7: upper case, lower case, digit, or itself.
const PATTERN: &[u8; 29] = b"Aaa, 00 Aaa 0000 00:00:00 GMT";

/// Offset of `GMT`.
const ZONE_OFFSET: usize = 26;

/// Returns true for a date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn is_http_date(value: &[u8]) -> bool {
    let is_valid = |(offset, &byte)| is_valid_at(offset, byte);
    value.len() == PATTERN.len() && value.iter().enumerate().all(is_valid)
}

/// Returns true if a date can have `byte` at `offset`. It needs no other byte, so a date can be
/// checked in pieces.
pub(super) fn is_valid_at(offset: usize, byte: u8) -> bool {
    match PATTERN[offset] {
        _ if offset >= ZONE_OFFSET => byte == PATTERN[offset],
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'0' => byte.is_ascii_digit(),
        literal => byte == literal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_standard_form_is_a_date() {
        assert!(is_http_date(b"Sun, 06 Nov 1994 08:49:37 GMT"));
        for other in [
            &b"Mon, 1 Jan 1996 01:01:01 GMT"[..],
            b"Sun, 06 Nov 1994 08:49:37 CET",
            b"Sun, 06 Nov 1994 08:49:3x GMT",
            b"sun, 06 Nov 1994 08:49:37 GMT",
            b"",
        ] {
            assert!(!is_http_date(other), "{}", other.escape_ascii());
        }
    }
}
