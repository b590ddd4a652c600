//! Masks system calls so that their lines are equal in every run: descriptors become roles, and
//! addresses, payload and pointers become placeholders.

use std::collections::HashMap;

use regex_lite::Regex;

use common::strace::Call;

/// The role of a descriptor by the system call that creates it: its number in the reference
/// programs, or a word if they have none.
const ROLES: [(&str, &str); 4] =
    [("socket", "3"), ("epoll_create1", "4"), ("accept4", "5"), ("eventfd2", "stop")];

/// Patterns and placeholders for event data, ports, addresses, payload and pointers.
const MASKS: [(&str, &str); 5] = [
    (r", data=\{[^}]*\}", ""),
    (r"htons\(\d+\)", "PORT"),
    (r#"inet_addr\("[^"]*"\)"#, "inet_addr(BYTES)"),
    (r#""(\\.|[^"\\])*"(\.\.\.)?"#, "BYTES"),
    (r"0x[0-9a-f]+", "PTR"),
];

/// Formats system calls as masked lines and tracks the roles of descriptors.
pub(crate) struct Masking {
    masks: Vec<(Regex, &'static str)>,
    roles: HashMap<String, &'static str>,
}

impl Masking {
    pub(crate) fn new() -> Self {
        let mask = |(pattern, instead)| (Regex::new(pattern).expect("a pattern"), instead);
        Self { masks: MASKS.map(mask).into(), roles: HashMap::new() }
    }

    /// Returns the masked line of a call, and true if it creates or uses a descriptor with a role.
    pub(crate) fn line(&mut self, call: &Call) -> (String, bool) {
        let Call { name, result, .. } = call;
        let mut arguments = call.arguments.clone();
        for (pattern, instead) in &self.masks {
            arguments = pattern.replace_all(&arguments, *instead).into_owned();
        }
        let mut arguments: Vec<&str> = arguments.split(", ").collect();
        let mut has_role = false;
        let created = ROLES.iter().find(|(creator, _)| creator == name);
        for index in descriptor_arguments(name) {
            if let Some(role) = arguments.get(index).and_then(|it| self.roles.get(*it)) {
                arguments[index] = role;
                has_role = true;
            }
        }
        let mut shown = result.as_str();
        if let Some((_, role)) = created
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
        // The epoll descriptor, and after the operation its target.
        "epoll_ctl" => 0..3,
        _ => 0..1,
    }
}
