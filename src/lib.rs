//! The program's modules; no stable API. The server engines are the crate [`ringpoll_backends`].
//! They are public only for the program, which is `main.rs`, and for its tests.

#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod compare;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod console;
#[doc(hidden)]
pub mod doctor;
#[doc(hidden)]
pub mod failure;
#[doc(hidden)]
pub mod load;
#[doc(hidden)]
pub mod manual;
#[doc(hidden)]
pub mod output_file;
#[doc(hidden)]
pub mod print;
#[doc(hidden)]
pub mod report;
#[doc(hidden)]
pub mod result;
#[doc(hidden)]
pub mod serve;
#[doc(hidden)]
pub mod stop_signals;
