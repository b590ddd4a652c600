//! The program's modules; no stable API. The server engines are the crate [`ringpoll_backends`].
//! They are public only for the program, which is `main.rs`, and for its tests.

#![doc(hidden)]
#![forbid(unsafe_code)]

pub mod cli;
pub mod compare;
pub mod config;
pub mod console;
pub mod doctor;
pub mod failure;
pub mod load;
pub mod manual;
pub mod output_file;
pub mod print;
pub mod report;
pub mod result;
pub mod serve;
pub mod stop_signals;
