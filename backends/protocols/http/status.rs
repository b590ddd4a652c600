//! Error responses.

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $line:literal, $body:literal;)+) => {
        /// The status of a refused request. Each ends the connection, since the start of the next
        /// request is not known or not worth waiting for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::protocols) enum Status {
            $($(#[$doc])* $name,)+
        }

        impl Status {
            #[cfg(test)]
            pub(in crate::protocols) const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the response, with its body.
            pub(in crate::protocols) const fn response(self) -> &'static [u8] {
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
    /// Invalid or ambiguous syntax.
    BadRequest = "400 Bad Request", "16";
    /// The body exceeds the limit.
    ContentTooLarge = "413 Content Too Large", "22";
    /// An expectation other than 100-continue.
    ExpectationFailed = "417 Expectation Failed", "23";
    /// The head or the trailers exceed the limit.
    HeadTooLarge = "431 Request Header Fields Too Large", "36";
    /// An unknown method or transfer coding.
    NotImplemented = "501 Not Implemented", "20";
    /// A major version other than 1.
    VersionNotSupported = "505 HTTP Version Not Supported", "31";
}

impl Status {
    /// Returns the response without its body.
    pub(in crate::protocols) fn head(self) -> &'static [u8] {
        let whole = self.response();
        let end = whole.windows(4).position(|four| four == b"\r\n\r\n");
        &whole[..end.map_or(whole.len(), |end| end + 4)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_content_length() {
        for &status in Status::ALL {
            let text = std::str::from_utf8(status.response()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{text}");
            assert_eq!(status.head(), &text.as_bytes()[..head.len() + 4]);
        }
    }
}
