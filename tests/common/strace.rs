//! Parses the output of `strace -f -o FILE` into a list of system calls.

use std::collections::HashMap;

/// One system call that has returned.
#[derive(Clone, Debug)]
pub struct Call {
    /// Id of the calling thread.
    pub thread: u32,
    pub name: String,
    /// Text between the parentheses.
    pub arguments: String,
    /// Text after the equals sign.
    pub result: String,
}

impl Call {
    /// Returns the argument at `index`, which must be before the first structure.
    pub fn argument(&self, index: usize) -> &str {
        self.arguments.split(", ").nth(index).unwrap_or_default()
    }

    /// Returns the first argument if it is a descriptor.
    pub fn descriptor(&self) -> Option<i32> {
        self.argument(0).parse().ok()
    }

    /// Returns the result if it is a number.
    pub fn returned(&self) -> Option<i64> {
        self.result.split(' ').next()?.parse().ok()
    }

    /// Returns whether the call succeeded.
    pub fn succeeded(&self) -> bool {
        self.returned().is_some_and(|result| result >= 0)
    }

    /// Returns the name of the error, if any.
    pub fn error(&self) -> Option<&str> {
        self.result.strip_prefix("-1 ")?.split(' ').next()
    }

    /// Returns whether strace injected the result instead of making the call.
    pub fn is_injected(&self) -> bool {
        self.result.ends_with("(INJECTED)")
    }
}

/// Returns the calls that have returned, in the order in which they started. A call that was
/// interrupted by output of another thread spans two lines; unfinished calls are omitted.
pub fn calls(log: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut begun: HashMap<u32, (usize, &str)> = HashMap::new();
    for line in complete_lines(log) {
        let (thread, text) = line.split_once(' ').expect("each line starts with a thread id");
        let (thread, text) = (thread.parse().expect("thread ids are numbers"), text.trim());
        if text.starts_with("---") || text.starts_with("+++") || text.ends_with("<detached ...>") {
            continue;
        }
        if let Some(start) = text.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (calls.len(), start));
            calls.push(None);
        } else if text.starts_with("<... ") {
            let (_, rest) =
                text.split_once(" resumed>").expect("strace marks the second line of a call");
            // After an attach, the first call of each thread has no first line.
            if let Some((place, start)) = begun.remove(&thread) {
                calls[place] = call(thread, &format!("{start}{rest}"));
            }
        } else {
            calls.push(call(thread, text));
        }
    }
    calls.into_iter().flatten().collect()
}

/// Omits the last line while strace is still writing it.
fn complete_lines(log: &str) -> impl Iterator<Item = &str> {
    log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

/// Returns `None` for a call that is truncated because its thread exited.
fn call(thread: u32, text: &str) -> Option<Call> {
    let (before, result) = text.rsplit_once(" = ")?;
    let (name, arguments) = before.trim_end().strip_suffix(')')?.split_once('(')?;
    let [name, arguments, result] = [name, arguments, result].map(str::to_owned);
    Some(Call { thread, name, arguments, result })
}
