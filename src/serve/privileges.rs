//! Root no longer than it is needed.

use nix::unistd::{Uid, User, initgroups, setresgid, setresuid};
use std::ffi::CString;

use crate::console::say;
use crate::failure::Failure;

/// Becomes the user of that name, for good and on every thread; an empty name stays who it is.
///
/// # Errors
/// When there is no such user, or the process may not become it.
pub(super) fn give_up(name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Ok(());
    }
    let user = User::from_name(name)
        .map_err(|error| failure(name, &error.to_string()))?
        .ok_or_else(|| Failure::Usage(format!("server.user: there is no user {name}")))?;
    become_user(&user).map_err(|error| failure(name, &error.to_string()))?;
    // Groups first and the user last, since from there on nothing of it can be done; and then
    // it is tried, since a server that only believes to be unprivileged is worse than none.
    if !user.uid.is_root() && nix::unistd::setuid(Uid::from_raw(0)).is_ok() {
        return Err(failure(name, "root could be had back"));
    }
    Ok(())
}

fn become_user(user: &User) -> nix::Result<()> {
    let name = CString::new(user.name.as_str()).map_err(|_| nix::errno::Errno::EINVAL)?;
    initgroups(&name, user.gid)?;
    setresgid(user.gid, user.gid, user.gid)?;
    setresuid(user.uid, user.uid, user.uid)
}

fn failure(name: &str, problem: &str) -> Failure {
    Failure::Run(format!("ringpoll: becoming the user {name}: {problem}"))
}

/// Says so if everything that a peer could make of the server would be done as root.
pub(super) fn warn_if_root() {
    if nix::unistd::geteuid().is_root() {
        say("warning: serving as root; --user NAME becomes somebody else once it listens");
    }
}
