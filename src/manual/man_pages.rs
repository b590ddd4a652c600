//! Man pages: section 1 for commands, section 7 for topics.

use std::path::Path;
use std::{fs, io};

use clap::Command;
use clap::builder::StyledStr;
use clap_mangen::Man;
use roff::Roff;

use super::TOPICS;
use super::roff_page::{EMPTY, MANUAL, SOURCE, heading, preformatted, see_also, topic_page};

/// Writes `man1/ringpoll.1`, `man1/ringpoll-COMMAND.1` and `man7/ringpoll-TOPIC.7` below
/// `directory`, so that `man -M DIRECTORY ringpoll` finds them.
///
/// # Errors
/// A directory or file cannot be written.
pub fn write_man_pages(mut command: Command, directory: &Path) -> io::Result<()> {
    command.build();
    let commands = directory.join("man1");
    fs::create_dir_all(&commands)?;
    write_command_pages(&command, &commands)?;
    let topics = directory.join("man7");
    fs::create_dir_all(&topics)?;
    for topic in TOPICS {
        fs::write(topics.join(format!("ringpoll-{}.7", topic.name)), topic_page(topic))?;
    }
    Ok(())
}

fn write_command_pages(command: &Command, directory: &Path) -> io::Result<()> {
    for subcommand in
        command.get_subcommands().filter(|it| it.get_name() != "help" || is_root(command))
    {
        write_command_pages(subcommand, directory)?;
    }
    let name = command.get_display_name().unwrap_or(command.get_name());
    fs::write(directory.join(format!("{name}.1")), command_page(command)?)
}

fn is_root(command: &Command) -> bool {
    command.get_name() == "ringpoll"
}

fn command_page(command: &Command) -> io::Result<Vec<u8>> {
    let end = command.get_after_long_help().or(command.get_after_help()).map(StyledStr::to_string);
    let without_end = command.clone().after_help(None).after_long_help(None);
    // An empty date is written as "", because clap_mangen omits empty arguments.
    let man = Man::new(without_end).date(EMPTY).source(SOURCE).manual(MANUAL);
    let mut page = Vec::new();
    man.render(&mut page)?;
    let mut roff = Roff::new();
    end.iter().for_each(|text| help_sections(text, &mut roff));
    see_also(&mut roff, &[]);
    page.extend(roff.to_roff().into_bytes());
    Ok(page)
}

/// Converts the end of a help text. A line such as `Exit codes:` is the heading of a section.
fn help_sections(text: &str, roff: &mut Roff) {
    let mut body = String::new();
    for line in text.lines() {
        match line.strip_suffix(':') {
            Some(title) if !line.starts_with(' ') => {
                preformatted(&body, roff);
                body.clear();
                heading("SH", &title.to_uppercase(), roff);
            }
            _ => body = body + line + "\n",
        }
    }
    preformatted(&body, roff);
}
