//! The bytes that answer every request.

const BODY: &[u8] = b"Hello, world!";

/// The response of the documents, with a body of `body_bytes`: their own repeated and cut.
pub(super) fn response(body_bytes: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.0 200 OK\r\n\
         Date: Mon, 1 Jan 1996 01:01:01 GMT\r\n\
         Content-Type: text/plain\r\n\
         Content-Length: {body_bytes}\r\n\
         \r\n"
    );
    head.into_bytes().into_iter().chain(BODY.iter().copied().cycle().take(body_bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirteen_bytes_are_the_documents_response() {
        let response = response(13);
        assert_eq!(response.len(), 114);
        assert!(response.ends_with(b"Content-Length: 13\r\n\r\nHello, world!"));
    }

    #[test]
    fn other_lengths_repeat_and_cut_it() {
        assert!(response(0).ends_with(b"Content-Length: 0\r\n\r\n"));
        assert!(response(15).ends_with(b"Content-Length: 15\r\n\r\nHello, world!He"));
    }
}
