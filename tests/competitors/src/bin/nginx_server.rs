//! nginx, one worker: writes a configuration and executes nginx.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use ringpoll_competitors::ListenArguments;

/// nginx with a configuration equivalent to the other servers.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    listening: ListenArguments,
    /// Keep connections alive.
    #[arg(long)]
    keep_alive: bool,
    /// Existing directory for the configuration and the files of nginx, which stay there.
    #[arg(long, value_name = "DIRECTORY")]
    directory: PathBuf,
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let directory = arguments.directory.join(arguments.listening.port.to_string());
    fs::create_dir_all(&directory)?;
    let file = directory.join("nginx.conf");
    fs::write(&file, configuration(&arguments, &directory))?;
    // exec returns only on failure.
    Err(Command::new("nginx").arg("-p").arg(&directory).arg("-c").arg(&file).exec())
}

fn configuration(arguments: &Arguments, directory: &Path) -> String {
    let ListenArguments { port, defer_accept } = arguments.listening;
    let deferred = if defer_accept { " deferred" } else { "" };
    let keep_alive = match arguments.keep_alive {
        true => "keepalive_timeout 1h; keepalive_requests 1000000000;",
        false => "keepalive_timeout 0;",
    };
    // In a user namespace root may be the only user. Without root, nginx only warns about `user`.
    format!(
        "daemon off; worker_processes 1; user root root;\n\
         pid {directory}/nginx.pid; error_log stderr error;\n\
         events {{ worker_connections 16384; }}\n\
         http {{\n\
           access_log off; default_type text/plain; {keep_alive}\n\
           server {{\n\
             listen 127.0.0.1:{port} backlog=4096{deferred};\n\
             location / {{ return 200 \"Hello, world!\"; }}\n\
           }}\n\
         }}\n",
        directory = directory.display()
    )
}
