//! The text of `--message`, a request of any protocol whose response is always the same.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::message::MAX_MESSAGE_BYTES;

/// A message that is sent as it is. Its text has the escape sequences `\r`, `\n`, `\t`, `\0`, `\\`
/// and `\xHH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageText(Arc<[u8]>);

impl MessageText {
    /// The bytes of the message.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for MessageText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'\\' => unescape(&mut rest).ok_or_else(|| {
                    format!(
                        "invalid escape sequence in `{text}`. Expected \\r, \\n, \\t, \\0, \\\\ or \
                         \\x and two hexadecimal digits"
                    )
                })?,
                byte => byte,
            });
        }
        match bytes.len() {
            1..=MAX_MESSAGE_BYTES => Ok(Self(bytes.into())),
            _ => Err(format!("a message must have 1 to {MAX_MESSAGE_BYTES} bytes")),
        }
    }
}

fn unescape(rest: &mut impl Iterator<Item = u8>) -> Option<u8> {
    Some(match rest.next()? {
        b'r' => b'\r',
        b'n' => b'\n',
        b't' => b'\t',
        b'0' => 0,
        b'\\' => b'\\',
        b'x' => {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            (digit()? * 16 + digit()?) as u8
        }
        _ => return None,
    })
}

impl fmt::Display for MessageText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_bytes() {
        let bytes = |text: &str| text.parse::<MessageText>().map(|it| it.bytes().to_vec());
        assert_eq!(bytes("PING\\r\\n"), Ok(b"PING\r\n".to_vec()));
        assert_eq!(bytes("a\\t\\0\\\\\\x7Fµ"), Ok("a\t\0\\\x7fµ".as_bytes().to_vec()));
        for text in ["\\", "\\q", "\\x7", "\\xg0"] {
            assert!(bytes(text).unwrap_err().contains("Expected \\r"), "{text}");
        }
        assert!(bytes("").unwrap_err().contains("1 to"));
        assert_eq!("\\xffa\\n".parse::<MessageText>().unwrap().to_string(), "\\xffa\\n");
    }
}
