//! A live view of a cluster: brokers, topics, consumer groups, the queues of a group, the newest messages of a topic.
//!
//! [`model`] asks the cluster, [`state`] is what the user has chosen, [`screen`] draws both. It runs in any terminal, over ssh too; with
//! --once one frame is printed as text.

mod model;
mod screen;
mod state;

use super::context::Context;
use super::error::Error;
use super::registry::{Entry, Run};
use clap::Args;
use model::Model;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use runtime::Instant;
use state::{Reaction, State, View};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// How often keys are looked for.
const KEY_PAUSE: Duration = Duration::from_millis(30);

pub(super) const COMMANDS: &[Entry] = &[Entry::new::<Top>(
    ("", "top"),
    "Live view of brokers, topics, groups, lag by queue, newest messages",
    &[
        "-n 127.0.0.1:9876",
        "--view groups",
        "--once --view queues --group Billing",
    ],
)];

#[derive(Debug, Args)]
pub(super) struct Top {
    /// The view to begin with
    #[arg(long, value_enum, default_value_t = View::Brokers)]
    view: View,
    /// The consumer group whose queues are shown first
    #[arg(short, long)]
    group: Option<String>,
    /// The topic whose messages are shown first
    #[arg(short, long)]
    topic: Option<String>,
    /// Only rows with this in their name
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Seconds between questions
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    every: u64,
    /// Print one frame and end
    #[arg(long)]
    once: bool,
    /// Columns and lines of the frame of --once
    #[arg(long, value_name = "WxH", default_value = "120x40", value_parser = size)]
    size: (u16, u16),
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let parts = text
        .split_once('x')
        .and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    parts
        .filter(|(width, height)| (40..=1_000).contains(width) && (10..=1_000).contains(height))
        .ok_or_else(|| "write columns and lines as 120x40, 40x10 at least".to_owned())
}

impl Run for Top {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let mut state = State::new(self.view, self.every, &self.filter);
        state.group.clone_from(&self.group);
        state.topic.clone_from(&self.topic);
        let mut model = Model::default();
        if self.once {
            model.ask(context, &state).await;
            state.settle(&model);
            model.ask_chosen(context, &state).await;
            return print(&model, &mut state, self.size, out);
        }
        if !io::stdout().is_terminal() {
            let fix = "run it in a terminal, or with --once";
            return Err(Error::other("top needs a terminal to draw on", fix));
        }
        let mut terminal = ratatui::init();
        let done = live(context, &mut model, &mut state, &mut terminal).await;
        ratatui::restore();
        done
    }
}

async fn live(
    context: &Context,
    model: &mut Model,
    state: &mut State,
    terminal: &mut ratatui::DefaultTerminal,
) -> Result<(), Error> {
    let mut asked: Option<Instant> = None;
    loop {
        let is_due = asked.is_none_or(|asked| asked.elapsed() >= Duration::from_secs(state.every));
        if state.wants_now || is_due && !state.paused {
            state.wants_now = false;
            asked = Some(Instant::now());
            if model.is_empty() {
                terminal.draw(|frame| screen::draw(frame, model, state))?;
            }
            model.ask(context, state).await;
            state.settle(model);
            model.ask_chosen(context, state).await;
        }
        terminal.draw(|frame| screen::draw(frame, model, state))?;
        // All keys that have come, or a short while without any.
        let mut has_come = false;
        while event::poll(Duration::ZERO)? {
            has_come = true;
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
                && state.on_key(key, model) == Reaction::Quit
            {
                return Ok(());
            }
        }
        if !has_come {
            runtime::sleep(KEY_PAUSE).await;
        }
    }
}

/// One frame as text.
fn print(model: &Model, state: &mut State, (width, height): (u16, u16), out: &mut dyn Write) -> Result<(), Error> {
    let mut terminal = match Terminal::new(TestBackend::new(width, height)) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    match terminal.draw(|frame| screen::draw(frame, model, state)) {
        Ok(_frame) => {}
        Err(never) => match never {},
    }
    let cells = terminal.backend().buffer().content();
    let lines: Vec<String> = cells
        .chunks(usize::from(width))
        .map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>())
        .collect();
    for line in lines {
        writeln!(out, "{}", line.trim_end())?;
    }
    match &model.failure {
        Some(failure) => Err(Error::other(failure.clone(), "see `mqadmin doctor`")),
        None => Ok(()),
    }
}
