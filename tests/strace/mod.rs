//! What strace(1) writes with `-f -o FILE`, as a list of system calls.

#![allow(dead_code, reason = "no test needs all of it")]

use std::collections::HashMap;

/// One system call that has returned.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The thread that made it.
    pub(crate) thread: u32,
    pub(crate) name: String,
    /// Between the parentheses.
    pub(crate) arguments: String,
    /// Behind the equals sign.
    pub(crate) result: String,
}

impl Call {
    /// The argument of that index. Only those before the first structure can be told apart.
    pub(crate) fn argument(&self, index: usize) -> &str {
        self.arguments.split(", ").nth(index).unwrap_or_default()
    }

    /// The first argument, where it is a descriptor.
    pub(crate) fn descriptor(&self) -> Option<i32> {
        self.argument(0).parse().ok()
    }

    /// What it returned, where that is a number.
    pub(crate) fn returned(&self) -> Option<i64> {
        self.result.split(' ').next()?.parse().ok()
    }

    /// Whether it returned anything but an error.
    pub(crate) fn succeeded(&self) -> bool {
        self.returned().is_some_and(|result| result >= 0)
    }

    /// The name of the error, if it returned one.
    pub(crate) fn error(&self) -> Option<&str> {
        self.result.strip_prefix("-1 ")?.split(' ').next()
    }

    /// Whether strace put the result in the place of the call.
    pub(crate) fn is_injected(&self) -> bool {
        self.result.ends_with("(INJECTED)")
    }
}

/// The calls that have returned, in the order in which they were begun. A call that another
/// thread's interrupts stands in two lines; those that have not returned are left out.
pub(crate) fn calls(log: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut begun: HashMap<u32, (usize, &str)> = HashMap::new();
    for line in complete_lines(log) {
        let (thread, text) = line.split_once(' ').expect("a thread stands first");
        let (thread, text) = (thread.parse().expect("its number"), text.trim());
        if text.starts_with("---") || text.starts_with("+++") || text.ends_with("<detached ...>") {
            continue;
        }
        if let Some(start) = text.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (calls.len(), start));
            calls.push(None);
        } else if text.starts_with("<... ") {
            let (_, rest) = text.split_once(" resumed>").expect("strace says that it goes on");
            // Where strace was attached, the first call of each thread has no beginning.
            if let Some((place, start)) = begun.remove(&thread) {
                calls[place] = call(thread, &format!("{start}{rest}"));
            }
        } else {
            calls.push(call(thread, text));
        }
    }
    calls.into_iter().flatten().collect()
}

/// While strace runs, the last line may be half written.
fn complete_lines(log: &str) -> impl Iterator<Item = &str> {
    log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

/// `None` for what is cut off at the end of a thread.
fn call(thread: u32, text: &str) -> Option<Call> {
    let (before, result) = text.rsplit_once(" = ")?;
    let (name, arguments) = before.trim_end().strip_suffix(')')?.split_once('(')?;
    let [name, arguments, result] = [name, arguments, result].map(str::to_owned);
    Some(Call { thread, name, arguments, result })
}
