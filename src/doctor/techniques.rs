//! How an engine uses what there is: one row for each technique, with the capabilities that it is
//! built on. An engine that takes more techniques has more rows here.

use ringpoll_backends::Variant;

use super::diagnosis::Technique;

struct Row {
    name: &'static str,
    needs: &'static [&'static str],
}

const SINGLE_SHOT: &[Row] = &[
    Row { name: "one submission for each step", needs: &["accept", "recv", "send", "close"] },
    Row { name: "a shutdown too is a submission, not shutdown(2)", needs: &["shutdown"] },
    Row { name: "a bad entry does not end the batch", needs: &["setup_submit_all"] },
    Row {
        name: "a ring restricted to the operations of the server",
        needs: &["setup_r_disabled", "restrictions"],
    },
    Row { name: "no completion is lost where the queue overflows", needs: &["overflow_kept"] },
    Row { name: "a tick as a timeout of the ring", needs: &["timeout"] },
    Row { name: "a stop that is polled by the ring", needs: &["poll"] },
    Row { name: "cancel, then close", needs: &["cancel"] },
];

/// What is on by default of `io_uring:tuned`; its other switches are the capabilities themselves.
const TUNED: &[Row] = &[
    Row { name: "completions are made when they are waited for", needs: &["setup_defer_taskrun"] },
    Row { name: "one ACCEPT brings all connections", needs: &["accept_multishot"] },
    Row { name: "receive buffers that all share", needs: &["buffer_ring"] },
    Row {
        name: "one RECV brings all that comes on a connection",
        needs: &["buffer_ring", "recv_multishot"],
    },
    Row { name: "what follows the answer is submitted with it", needs: &["link"] },
    Row { name: "a chain says once that it is done", needs: &["link", "skip_success"] },
    Row {
        name: "a ring restricted to the operations of the server",
        needs: &["setup_r_disabled", "restrictions"],
    },
    Row { name: "no completion is lost where the queue overflows", needs: &["overflow_kept"] },
    Row { name: "cancel, then close", needs: &["cancel"] },
];

/// The techniques of this engine.
const fn rows(variant: Variant) -> &'static [Row] {
    match variant {
        Variant::IoUringSingleShot => SINGLE_SHOT,
        Variant::IoUringTuned => TUNED,
        // The epoll engines make the calls of the documents, which every kernel has.
        _ => &[],
    }
}

/// The techniques of this engine, and which of them are in force where `has` says what there is.
pub fn of(variant: Variant, has: impl Fn(&str) -> bool) -> Vec<Technique> {
    let technique = |row: &Row| Technique {
        name: row.name.to_owned(),
        needs: row.needs.iter().map(|&need| need.to_owned()).collect(),
        in_force: row.needs.iter().all(|need| has(need)),
    };
    rows(variant).iter().map(technique).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ringpoll_backends::capabilities;

    use super::*;

    #[test]
    fn techniques_are_built_on_capabilities_that_are_probed() {
        let names: BTreeSet<_> = capabilities::all().map(|it| it.name).collect();
        for variant in Variant::ALL {
            for need in rows(*variant).iter().flat_map(|row| row.needs) {
                assert!(names.contains(need), "{variant}: {need}");
            }
        }
    }

    #[test]
    fn a_technique_is_in_force_only_with_all_that_it_needs() {
        let found = of(Variant::IoUringSingleShot, |name| name != "restrictions");
        let off: Vec<_> = found.iter().filter(|it| !it.in_force).collect();
        assert_eq!(off.len(), 1);
        assert!(off[0].needs.contains(&"restrictions".to_owned()));
    }
}
