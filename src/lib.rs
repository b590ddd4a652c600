//! The program around the engines: its command line, its configuration, and what it prints.
//! The engines themselves are the crate [`ringpoll_backends`].

#![forbid(unsafe_code)]

pub mod cli;
pub mod compare;
pub mod config;
pub mod console;
pub mod doctor;
pub mod failure;
pub mod load;
pub mod print;
pub mod report;
pub mod serve;
