//! Every command of mqadmin: its names, what it is for, what it takes and what it does.
//!
//! A command is one [`Entry`], listed by the file that holds it. From the entries are made the command line in both spellings
//! (Apache's `topicList`, ours `topic list`), their help, the completion, the man pages and the table in docs/mqadmin.md.

use super::context::Context;
use super::error::Error;
use clap::{ArgMatches, Args, Command};
use std::future::Future;
use std::io::Write;
use std::pin::Pin;

/// Arguments of a command, and what it does with them.
pub(super) trait Run: Args {
    /// Does it once; `--watch` calls it again.
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error>;
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

/// What a command does.
#[derive(Clone, Copy)]
pub(super) enum Does {
    /// It works.
    Run {
        arguments: fn(Command) -> Command,
        run: for<'a> fn(&'a ArgMatches, &'a Context, &'a mut dyn Write) -> Running<'a>,
    },
    /// Apache's has it and ours does not; this is what is not there yet.
    Missing(&'static str),
}

/// A command.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// Apache's name of it; empty if Apache has no such command.
    pub(super) apache: &'static str,
    /// Ours: a noun and a verb, or one word; empty for what is not there.
    pub(super) modern: &'static str,
    pub(super) about: &'static str,
    /// Arguments to show how it is used.
    pub(super) examples: &'static [&'static str],
    pub(super) does: Does,
}

impl Entry {
    /// A command that works.
    pub(super) const fn new<T: Run>(
        (apache, modern): (&'static str, &'static str),
        about: &'static str,
        examples: &'static [&'static str],
    ) -> Entry {
        Entry {
            apache,
            modern,
            about,
            examples,
            does: Does::Run {
                arguments: T::augment_args,
                run: run::<T>,
            },
        }
    }

    /// A command of Apache's that is not there yet.
    pub(super) const fn missing(apache: &'static str, about: &'static str, feature: &'static str) -> Entry {
        Entry {
            apache,
            modern: "",
            about,
            examples: &[],
            does: Does::Missing(feature),
        }
    }

    /// Its examples as whole command lines: the first in Apache's spelling, if it has one, the others in ours.
    pub(super) fn command_lines(&self) -> impl Iterator<Item = String> {
        let (apache, modern) = (self.apache, self.modern);
        self.examples.iter().enumerate().map(move |(number, arguments)| {
            let name = if number == 0 && !apache.is_empty() {
                apache
            } else {
                modern
            };
            format!("mqadmin {name} {arguments}").trim_end().to_owned()
        })
    }
}

fn run<'a, T: Run>(matches: &'a ArgMatches, context: &'a Context, out: &'a mut dyn Write) -> Running<'a> {
    Box::pin(async move {
        let arguments = T::from_arg_matches(matches).map_err(|error| Error::Usage(Box::new(error)))?;
        arguments.run(context, out).await
    })
}

/// All of them, family by family.
pub(super) fn entries() -> impl Iterator<Item = &'static Entry> {
    let families: [&'static [Entry]; 21] = [
        super::cluster::COMMANDS,
        super::probes::COMMANDS,
        super::topic::COMMANDS,
        super::topic_settings::COMMANDS,
        super::broker::COMMANDS,
        super::name_server::COMMANDS,
        super::consumer::COMMANDS,
        super::group::COMMANDS,
        super::clients::COMMANDS,
        super::message::COMMANDS,
        super::message_query::COMMANDS,
        super::message_read::COMMANDS,
        super::trace::COMMANDS,
        super::offset::COMMANDS,
        super::stats::COMMANDS,
        super::ha::COMMANDS,
        super::export::COMMANDS,
        super::doctor::COMMANDS,
        super::top::COMMANDS,
        super::own::COMMANDS,
        super::missing::COMMANDS,
    ];
    families.into_iter().flatten()
}

/// What a noun of the modern spelling stands for.
pub(super) const NOUNS: [(&str, &str); 9] = [
    ("cluster", "Clusters: which brokers there are and how busy they are"),
    ("topic", "Topics: list, routes, offsets, settings"),
    ("group", "Consumer groups: lag, settings, offsets, clients"),
    ("message", "Messages: send, find, read, trace"),
    ("broker", "Brokers: figures, configuration, upkeep"),
    ("namesrv", "Name servers: configuration, KV config, write permission"),
    ("producers", "Producers: who is connected"),
    ("queue", "Consume queues, entry by entry"),
    ("export", "Write what there is into files"),
];
