//! Why a request is not served.

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $line:literal, $body:literal;)+) => {
        /// The refusals. Each ends the connection: where the next request would begin is not
        /// known, or not worth the wait.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Status {
            $($(#[$doc])* $name,)+
        }

        impl Status {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The whole answer.
            pub const fn answer(self) -> &'static [u8] {
                match self {
                    $(Self::$name => concat!(
                        "HTTP/1.1 ", $line, "\r\n",
                        "Content-Type: text/plain\r\n",
                        "Connection: close\r\n",
                        "Content-Length: ", $body, "\r\n",
                        "\r\n",
                        $line, "\n",
                    ).as_bytes(),)+
                }
            }
        }
    };
}

statuses! {
    /// It is not a request, or two readers could understand it differently.
    BadRequest = "400 Bad Request", "16";
    /// Its body is longer than the limit.
    ContentTooLarge = "413 Content Too Large", "22";
    /// It expects what nobody here can do.
    ExpectationFailed = "417 Expectation Failed", "23";
    /// Its head, or its trailers, are longer than the limit.
    HeadTooLarge = "431 Request Header Fields Too Large", "36";
    /// Its method or the encoding of its body are not known here.
    NotImplemented = "501 Not Implemented", "20";
    /// It is of another major version.
    VersionNotSupported = "505 HTTP Version Not Supported", "31";
}

impl Status {
    /// The answer without its body.
    pub(crate) fn head(self) -> &'static [u8] {
        let whole = self.answer();
        let end = whole.windows(4).position(|four| four == b"\r\n\r\n");
        &whole[..end.map_or(whole.len(), |end| end + 4)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_its_own_length() {
        for &status in Status::ALL {
            let text = std::str::from_utf8(status.answer()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{text}");
            assert_eq!(status.head(), &text.as_bytes()[..head.len() + 4]);
        }
    }
}
