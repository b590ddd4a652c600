//! `ringpoll doctor`: output formats, refusals of io_uring, and accuracy.
mod accuracy;
mod commands;
mod refusals;
mod reports;
