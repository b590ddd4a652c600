//! The map of a crate: the part of its documentation that names its files.

/// Returns every file and folder that the crate's documentation names in backticks: `server.rs`,
/// `io_uring/techniques/`.
pub(crate) fn names(text: &str) -> Vec<&str> {
    let documentation = text.lines().filter_map(|line| line.strip_prefix("//!"));
    documentation
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|name| name.ends_with(".rs") || name.ends_with('/'))
        .filter(|name| !name.contains(' '))
        .collect()
}

/// Returns true if the map has the file, or a folder that contains it. The roots and `mod.rs` files
/// are what the map itself is about.
pub(crate) fn is_named(names: &[&str], path: &str) -> bool {
    let is_root = matches!(path, "lib.rs" | "main.rs" | "build.rs") || path.ends_with("/mod.rs");
    is_root
        || names.iter().any(|&name| path == name || name.ends_with('/') && path.starts_with(name))
}

#[test]
fn a_file_is_named_by_itself_or_by_its_folder() {
    let map = names("//! Read `a.rs`, then `b/`.\n//! See `c.rs` and `fn d`.\n// `e.rs`\n");
    assert_eq!(map, ["a.rs", "b/", "c.rs"]);
    assert!(is_named(&map, "a.rs"));
    assert!(is_named(&map, "b/f.rs"));
    assert!(!is_named(&map, "e.rs"));
    assert!(!is_named(&map, "bb/f.rs"));
}
