//! What the user has chosen: view, row, order, filter; and what keys do.

use super::model::Model;
use clap::ValueEnum;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum View {
    /// Brokers: rates, disk, version
    Brokers,
    /// Topics: rates, messages
    Topics,
    /// Consumer groups: lag, rates
    Groups,
    /// The queues of a consumer group
    Queues,
    /// The newest messages of a topic
    Tail,
}

impl View {
    pub(super) const ALL: [View; 5] = [View::Brokers, View::Topics, View::Groups, View::Queues, View::Tail];

    pub(super) fn title(self) -> &'static str {
        match self {
            View::Brokers => "1 Brokers",
            View::Topics => "2 Topics",
            View::Groups => "3 Groups",
            View::Queues => "4 Queues",
            View::Tail => "5 Tail",
        }
    }

    pub(super) fn place(self) -> usize {
        View::ALL.iter().position(|view| *view == self).unwrap_or(0)
    }
}

/// What comes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// It goes on.
    Stay,
    /// It ends.
    Quit,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) view: View,
    pub(super) every: u64,
    pub(super) paused: bool,
    pub(super) help: bool,
    /// Whether the order is by size (rate, lag) and not by name.
    pub(super) by_size: bool,
    pub(super) filter: String,
    /// Whether the filter is being written.
    pub(super) filtering: bool,
    pub(super) row: usize,
    /// The group whose queues are shown.
    pub(super) group: Option<String>,
    /// The topic whose messages are shown.
    pub(super) topic: Option<String>,
    /// Whether something was chosen that has not been asked for.
    pub(super) wants_now: bool,
}

impl State {
    pub(super) fn new(view: View, every: u64, filter: &str) -> State {
        State {
            view,
            every,
            paused: false,
            help: false,
            by_size: true,
            filter: filter.to_owned(),
            filtering: false,
            row: 0,
            group: None,
            topic: None,
            wants_now: false,
        }
    }

    /// Chooses a group or topic where the view needs one and there is none yet: the first of the list.
    pub(super) fn settle(&mut self, model: &Model) {
        if self.view == View::Queues && self.group.is_none() {
            let worst = model.groups.iter().max_by_key(|group| group.lag);
            self.group = worst.map(|group| group.name.clone());
        }
        if self.view == View::Tail && self.topic.is_none() {
            let busiest = model.topics.iter().max_by_key(|topic| topic.updated_ms);
            self.topic = busiest.map(|topic| topic.name.clone());
        }
    }

    pub(super) fn accepts(&self, name: &str) -> bool {
        self.filter.is_empty() || name.to_lowercase().contains(&self.filter.to_lowercase())
    }

    fn go(&mut self, view: View) {
        if self.view != view {
            (self.view, self.row, self.wants_now) = (view, 0, true);
        }
    }

    pub(super) fn on_key(&mut self, key: KeyEvent, model: &Model) -> Reaction {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Reaction::Quit;
        }
        if self.filtering {
            match key.code {
                KeyCode::Enter => self.filtering = false,
                KeyCode::Esc => (self.filtering, self.filter) = (false, String::new()),
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Char(letter) => self.filter.push(letter),
                _ => {}
            }
            self.row = 0;
            return Reaction::Stay;
        }
        let place = self.view.place();
        let views = View::ALL.len();
        match key.code {
            KeyCode::Char('q') => return Reaction::Quit,
            KeyCode::Esc if self.help => self.help = false,
            KeyCode::Esc => match self.view {
                View::Queues => self.go(View::Groups),
                View::Tail => self.go(View::Topics),
                _ => self.filter.clear(),
            },
            KeyCode::Char('?' | 'h') => self.help = !self.help,
            KeyCode::Char(digit @ '1'..='5') => {
                let number = usize::from(u8::try_from(digit).unwrap_or(b'1') - b'1');
                self.go(View::ALL[number]);
            }
            KeyCode::Tab | KeyCode::Right => self.go(View::ALL[(place + 1) % views]),
            KeyCode::BackTab | KeyCode::Left => self.go(View::ALL[(place + views - 1) % views]),
            KeyCode::Down | KeyCode::Char('j') => self.row = self.row.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.row = self.row.saturating_sub(1),
            KeyCode::PageDown => self.row = self.row.saturating_add(20),
            KeyCode::PageUp => self.row = self.row.saturating_sub(20),
            KeyCode::Home => self.row = 0,
            KeyCode::End => self.row = usize::MAX,
            KeyCode::Char('s') => (self.by_size, self.row) = (!self.by_size, 0),
            KeyCode::Char('/') => self.filtering = true,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('r') => self.wants_now = true,
            KeyCode::Char('+') => self.every = (self.every + 1).min(3_600),
            KeyCode::Char('-') => self.every = self.every.saturating_sub(1).max(1),
            KeyCode::Enter => self.open(model),
            _ => {}
        }
        Reaction::Stay
    }

    /// Opens what the row stands for.
    fn open(&mut self, model: &Model) {
        match self.view {
            View::Groups => {
                if let Some(group) = super::screen::groups(model, self).get(self.row) {
                    self.group = Some(group.name.clone());
                    self.go(View::Queues);
                }
            }
            View::Topics => {
                if let Some(topic) = super::screen::topics(model, self).get(self.row) {
                    self.topic = Some(topic.name.clone());
                    self.go(View::Tail);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Group, Topic};
    use super::*;

    fn press(state: &mut State, model: &Model, codes: &[KeyCode]) -> Reaction {
        let mut reaction = Reaction::Stay;
        for code in codes {
            reaction = state.on_key(KeyEvent::new(*code, KeyModifiers::NONE), model);
        }
        reaction
    }

    #[test]
    fn keys_lead_from_a_group_to_its_queues_and_back() {
        let group = |name: &str, lag| Group {
            name: name.to_owned(),
            lag,
            ..Group::default()
        };
        let model = Model {
            groups: vec![group("a", 1), group("b", 9)],
            ..Model::default()
        };
        let mut state = State::new(View::Brokers, 2, "");
        press(&mut state, &model, &[KeyCode::Char('3'), KeyCode::Enter]);
        // The one that is furthest behind comes first.
        assert_eq!((state.view, state.group.as_deref()), (View::Queues, Some("b")));
        press(&mut state, &model, &[KeyCode::Esc, KeyCode::Char('s'), KeyCode::Enter]);
        assert_eq!(state.group.as_deref(), Some("a"));
        assert!(state.wants_now);
        assert_eq!(press(&mut state, &model, &[KeyCode::Char('q')]), Reaction::Quit);
    }

    #[test]
    fn a_filter_is_written_until_enter_and_letters_in_it_are_no_commands() {
        let topic = |name: &str| Topic {
            name: name.to_owned(),
            ..Topic::default()
        };
        let model = Model {
            topics: vec![topic("Orders"), topic("queue")],
            ..Model::default()
        };
        let mut state = State::new(View::Topics, 2, "");
        let letters = "/quE"
            .chars()
            .map(KeyCode::Char)
            .chain([KeyCode::Enter])
            .collect::<Vec<_>>();
        assert_eq!(press(&mut state, &model, &letters), Reaction::Stay);
        assert_eq!((state.filter.as_str(), state.filtering), ("quE", false));
        press(&mut state, &model, &[KeyCode::Enter]);
        assert_eq!(state.topic.as_deref(), Some("queue"));
    }
}
