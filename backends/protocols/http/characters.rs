//! Classes of bytes.

/// Methods and field names: `tchar` (RFC 9110, 5.6.2).
pub(super) const TOKEN: u8 = 1;
/// Request targets: visible ASCII but `#`, since a fragment is never sent (RFC 9110, 4.2.5).
pub(super) const TARGET: u8 = 2;
/// Field values: visible ASCII, space, tab, and `obs-text` (RFC 9110, 5.5).
pub(super) const VALUE: u8 = 4;
/// The value of Host: `host` and `port` of RFC 3986.
pub(super) const HOST: u8 = 8;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class_of(byte as u8);
        byte += 1;
    }
    classes
}

const fn class_of(byte: u8) -> u8 {
    let mut class = 0;
    if byte.is_ascii_alphanumeric() || is_in(byte, b"!#$%&'*+-.^_`|~") {
        class |= TOKEN;
    }
    if byte.is_ascii_graphic() && byte != b'#' {
        class |= TARGET;
    }
    if byte.is_ascii_graphic() || byte == b' ' || byte == b'\t' || byte >= 0x80 {
        class |= VALUE;
    }
    if byte.is_ascii_alphanumeric() || is_in(byte, b"-._~!$&'()*+,;=:%[]") {
        class |= HOST;
    }
    class
}

const fn is_in(byte: u8, set: &[u8]) -> bool {
    let mut index = 0;
    while index < set.len() {
        if set[index] == byte {
            return true;
        }
        index += 1;
    }
    false
}

/// Returns true if `byte` is in a class.
pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// Returns the number of leading bytes in a class.
pub(super) fn run(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|&byte| !is(byte, class)).unwrap_or(bytes.len())
}
