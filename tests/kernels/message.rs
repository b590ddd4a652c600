//! The message that a guest sends to the host on its second serial port: a header line with exit
//! code, length and CRC-32, then the bytes. An incomplete message is an error.

use flate2::Crc;

const MARKER: &str = "\nRINGPOLL-MESSAGE ";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GuestMessage {
    pub(crate) exit_code: i32,
    pub(crate) bytes: Vec<u8>,
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = Crc::new();
    sum.update(bytes);
    sum.sum()
}

impl GuestMessage {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (length, sum) = (self.bytes.len(), checksum(&self.bytes));
        let head = format!("{MARKER}exit={} length={length} crc32={sum:08x}\n", self.exit_code);
        [head.as_bytes(), &self.bytes].concat()
    }

    /// Finds the message in the output of the serial port.
    pub(crate) fn read(port: &[u8]) -> Result<Self, String> {
        let start = port.windows(MARKER.len()).position(|window| window == MARKER.as_bytes());
        let start = start.ok_or_else(|| format!("no message in {} bytes", port.len()))?;
        let rest = &port[start + MARKER.len()..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or("the message has no header")?;
        let header = String::from_utf8_lossy(&rest[..end]).into_owned();
        let field = |name: &str| {
            let value = header.split(' ').find_map(|word| word.strip_prefix(name));
            value.ok_or_else(|| format!("the message header has no {name}: {header}"))
        };
        let number = |text: &str| text.parse::<i64>().map_err(|error| format!("{text}: {error}"));
        let (exit_code, length) = (number(field("exit=")?)?, number(field("length=")?)? as usize);
        let bytes = &rest[end + 1..];
        let bytes = bytes.get(..length).ok_or_else(|| {
            format!("the message is truncated: {} of {length} bytes", bytes.len())
        })?;
        let (expected, actual) = (field("crc32=")?, format!("{:08x}", checksum(bytes)));
        if actual != expected {
            return Err(format!("the message is damaged: CRC-32 {actual}, expected {expected}"));
        }
        Ok(Self { exit_code: exit_code as i32, bytes: bytes.to_vec() })
    }
}

pub(crate) fn incomplete_or_damaged_messages_are_rejected() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|index| (index * 7 % 251) as u8).collect();
    let message = GuestMessage { exit_code: 3, bytes };
    let sent = message.to_bytes();
    assert_eq!(GuestMessage::read(&[b"noise\r\n", &sent[..], b"more"].concat()).unwrap(), message);
    let head = sent.len() - message.bytes.len();
    for length in [0, 5, head - 1, head, sent.len() - 1] {
        let error = GuestMessage::read(&sent[..length]).unwrap_err();
        assert!(error.contains("message"), "{error}");
    }
    for index in [head, sent.len() - 1] {
        let mut damaged = sent.clone();
        damaged[index] ^= 1;
        assert!(GuestMessage::read(&damaged).unwrap_err().contains("damaged"));
    }
    let lost = [&sent[..head + 10], &sent[head + 11..], b"x"].concat();
    assert!(GuestMessage::read(&lost).unwrap_err().contains("damaged"));
}
