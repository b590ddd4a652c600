//! Calls as lines that are the same in every run: descriptors by their role, and everything that
//! the machine or the peer chooses masked.

use std::collections::HashMap;

use regex_lite::Regex;

use crate::strace::Call;

/// What the documents' descriptors are called, by the call that makes them: the number that each
/// has there, and a word for what they do not have.
const ROLES: [(&str, &str); 4] =
    [("socket", "3"), ("epoll_create1", "4"), ("accept4", "5"), ("eventfd2", "stop")];

/// In this order: data of the events, addresses, payload, pointers.
const MASKS: [(&str, &str); 5] = [
    (r", data=\{[^}]*\}", ""),
    (r"htons\(\d+\)", "PORT"),
    (r#"inet_addr\("[^"]*"\)"#, "inet_addr(BYTES)"),
    (r#""(\\.|[^"\\])*"(\.\.\.)?"#, "BYTES"),
    (r"0x[0-9a-f]+", "PTR"),
];

/// Turns calls into lines, and knows which descriptor has which role.
pub(crate) struct Masking {
    masks: Vec<(Regex, &'static str)>,
    roles: HashMap<String, &'static str>,
}

impl Masking {
    pub(crate) fn new() -> Self {
        let mask = |(pattern, instead)| (Regex::new(pattern).expect("a pattern"), instead);
        Self { masks: MASKS.map(mask).into(), roles: HashMap::new() }
    }

    /// The call as a line; whether it makes or names a descriptor that has a role.
    pub(crate) fn line(&mut self, call: &Call) -> (String, bool) {
        let Call { name, result, .. } = call;
        let mut arguments = call.arguments.clone();
        for (pattern, instead) in &self.masks {
            arguments = pattern.replace_all(&arguments, *instead).into_owned();
        }
        let mut arguments: Vec<&str> = arguments.split(", ").collect();
        let mut has_role = false;
        let made = ROLES.iter().find(|(maker, _)| maker == name);
        for index in descriptor_arguments(name) {
            if let Some(role) = arguments.get(index).and_then(|it| self.roles.get(*it)) {
                arguments[index] = role;
                has_role = true;
            }
        }
        let mut shown = result.as_str();
        if let Some((_, role)) = made
            && call.succeeded()
        {
            self.roles.insert(result.clone(), role);
            (shown, has_role) = (role, true);
        }
        let line = format!("{name}({}) = {shown}", arguments.join(", "));
        if name == "close" {
            self.roles.remove(call.argument(0));
        }
        (line, has_role)
    }
}

fn descriptor_arguments(name: &str) -> std::ops::Range<usize> {
    match name {
        "socket" | "epoll_create1" | "eventfd2" => 0..0,
        // The first, and behind the operation the one that it concerns.
        "epoll_ctl" => 0..3,
        _ => 0..1,
    }
}
