//! What comes out of a guest: one frame on its second serial port, in a line of text and then the
//! bytes, with their length, their checksum and how the guest's work ended. Nothing short of the
//! whole frame counts.

use flate2::Crc;

const MARK: &str = "\nRINGPOLL-FRAME ";

/// What the guest has to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) exit_code: i32,
    pub(crate) bytes: Vec<u8>,
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = Crc::new();
    sum.update(bytes);
    sum.sum()
}

impl Frame {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (length, sum) = (self.bytes.len(), checksum(&self.bytes));
        let head = format!("{MARK}exit={} length={length} crc32={sum:08x}\n", self.exit_code);
        [head.as_bytes(), &self.bytes].concat()
    }

    /// The frame among what came through the port.
    pub(crate) fn read(port: &[u8]) -> Result<Self, String> {
        let start = port.windows(MARK.len()).position(|window| window == MARK.as_bytes());
        let start = start.ok_or_else(|| format!("no frame among {} bytes", port.len()))?;
        let rest = &port[start + MARK.len()..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or("the frame has no head")?;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        let field = |name: &str| {
            let value = head.split(' ').find_map(|word| word.strip_prefix(name));
            value.ok_or_else(|| format!("the frame's head has no {name}: {head}"))
        };
        let number = |text: &str| text.parse::<i64>().map_err(|error| format!("{text}: {error}"));
        let (exit_code, length) = (number(field("exit=")?)?, number(field("length=")?)? as usize);
        let bytes = &rest[end + 1..];
        let bytes = bytes.get(..length).ok_or_else(|| {
            format!("the frame is cut off: {} of {length} bytes have come", bytes.len())
        })?;
        let (said, sum) = (field("crc32=")?, format!("{:08x}", checksum(bytes)));
        if said != sum {
            return Err(format!("the frame is damaged: its checksum is {sum}, not {said}"));
        }
        Ok(Self { exit_code: exit_code as i32, bytes: bytes.to_vec() })
    }
}

pub(crate) fn a_frame_comes_whole_or_not_at_all() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|index| (index * 7 % 251) as u8).collect();
    let frame = Frame { exit_code: 3, bytes };
    let sent = frame.to_bytes();
    assert_eq!(Frame::read(&[b"noise\r\n", &sent[..], b"more"].concat()).unwrap(), frame);
    let head = sent.len() - frame.bytes.len();
    for length in [0, 5, head - 1, head, sent.len() - 1] {
        let error = Frame::read(&sent[..length]).unwrap_err();
        assert!(error.contains("no frame") || error.contains("frame"), "{error}");
    }
    for place in [head, sent.len() - 1] {
        let mut damaged = sent.clone();
        damaged[place] ^= 1;
        assert!(Frame::read(&damaged).unwrap_err().contains("damaged"));
    }
    let lost = [&sent[..head + 10], &sent[head + 11..], b"x"].concat();
    assert!(Frame::read(&lost).unwrap_err().contains("damaged"));
}
