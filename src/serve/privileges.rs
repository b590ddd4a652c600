//! Drops root privileges after setup.

use nix::unistd::{Uid, User, initgroups, setresgid, setresuid};
use std::ffi::CString;

use crate::console::eprint_line;
use crate::failure::Failure;

/// Switches all threads to the user of that name, permanently; an empty name changes nothing.
///
/// # Errors
/// The user does not exist, or the process may not switch to it.
pub(super) fn drop_privileges(name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Ok(());
    }
    let user = User::from_name(name)
        .map_err(|error| failure(name, &error.to_string()))?
        .ok_or_else(|| Failure::Usage(format!("server.user: there is no user {name}")))?;
    switch_user(&user).map_err(|error| failure(name, &error.to_string()))?;
    // `switch_user` sets groups first, because the new user may not. Then verify that root cannot
    // be regained: a server that wrongly reports dropped privileges is worse than none.
    if !user.uid.is_root() && nix::unistd::setuid(Uid::from_raw(0)).is_ok() {
        return Err(failure(name, "the process can still become root again"));
    }
    Ok(())
}

fn switch_user(user: &User) -> nix::Result<()> {
    let name = CString::new(user.name.as_str()).map_err(|_| nix::errno::Errno::EINVAL)?;
    initgroups(&name, user.gid)?;
    setresgid(user.gid, user.gid, user.gid)?;
    setresuid(user.uid, user.uid, user.uid)
}

fn failure(name: &str, problem: &str) -> Failure {
    Failure::Run(format!("ringpoll: switching to the user {name}: {problem}"))
}

/// Warns if the server runs as root.
pub(super) fn warn_if_root() {
    if nix::unistd::geteuid().is_root() {
        eprint_line("warning: serving as root; --user NAME drops privileges after setup");
    }
}
