//! What Apache's mqadmin has not: the list of commands, completion for shells, man pages.

use super::cli::command_line;
use super::context::Context;
use super::error::Error;
use super::files;
use super::registry::{Does, Entry, Run, entries};
use clap::Args;
use clap_complete::Shell;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<Commands>(
        ("", "commands"),
        "All commands: Apache's names beside ours",
        &["", "-o json", "--markdown"],
    ),
    Entry::new::<Completion>(
        ("", "completion"),
        "Completion of commands and arguments for a shell",
        &["bash", "zsh", "fish"],
    ),
    Entry::new::<Man>(
        ("", "man"),
        "Man pages, one a command, into a directory",
        &["./man1", "/usr/local/share/man/man1"],
    ),
];

#[derive(Debug, Args)]
pub(super) struct Commands {
    /// As a table of Markdown
    #[arg(long)]
    markdown: bool,
}

/// What there is to say of a command that Apache's has: its name, ours, and what it is for or what it waits for.
fn columns(entry: &Entry) -> (String, String, String) {
    let or_dash = |name: &str| {
        if name.is_empty() {
            "-".to_owned()
        } else {
            name.to_owned()
        }
    };
    let what = match entry.does {
        Does::Run { .. } => entry.about.to_owned(),
        Does::Missing(feature) => format!("not there yet: {feature}"),
    };
    (or_dash(entry.apache), or_dash(entry.modern), what)
}

impl Run for Commands {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        if context.wants_document() {
            let rows: Vec<_> = entries()
                .map(|entry| {
                    let is_served = matches!(entry.does, Does::Run { .. });
                    json!({"apache": entry.apache, "modern": entry.modern, "about": entry.about, "served": is_served, "note": columns(entry).2})
                })
                .collect();
            return context.document(out, &rows);
        }
        if self.markdown {
            writeln!(out, "| Apache's | ours | what it does |\n|---|---|---|")?;
            for (apache, modern, what) in entries().map(columns) {
                let code = |name: String| if name == "-" { name } else { format!("`{name}`") };
                writeln!(out, "| {} | {} | {what} |", code(apache), code(modern))?;
            }
            return Ok(());
        }
        heading!(context, out, "{:<34}  {:<22}  #What it does", "#Apache's name", "#Ours")?;
        for (apache, modern, what) in entries().map(columns) {
            writeln!(out, "{apache:<34}  {modern:<22}  {what}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Run for Completion {
    async fn run(&self, _context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command_line(), "mqadmin", &mut script);
        Ok(out.write_all(&script)?)
    }
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Run for Man {
    async fn run(&self, _context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let mut command = command_line().disable_help_subcommand(true);
        command.build();
        let mut pages = 0;
        let mut waiting = vec![("mqadmin".to_owned(), command)];
        while let Some((name, command)) = waiting.pop() {
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                waiting.push((format!("{name}-{}", sub.get_name()), sub.clone()));
            }
            let mut page = Vec::new();
            let command = command.name(name.clone());
            clap_mangen::Man::new(command).render(&mut page)?;
            files::write(&self.directory.join(format!("{name}.1")), &page)?;
            pages += 1;
        }
        Ok(writeln!(out, "{pages} pages in {}", self.directory.display())?)
    }
}
