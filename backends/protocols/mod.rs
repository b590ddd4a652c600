//! The protocols that ship with the engines.

mod chargen;
mod discard;
mod echo;
mod http;
mod http10;
mod http11;
mod request_head;
mod responses;

pub use chargen::Chargen;
pub use discard::Discard;
pub use echo::Echo;
pub use http10::Http10;
pub use http11::Http11;
pub use responses::Responses;
