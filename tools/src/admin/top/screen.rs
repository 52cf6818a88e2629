//! The frame: tabs, a table, a line of state.

use super::model::{Broker, Group, Model, Topic};
use super::state::{State, View};
use crate::admin::consumer::diff;
use crate::admin::message_text;
use crate::admin::time_text::{local, local_with_millis};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Row, Table, TableState, Tabs};

const HELP: &str = "
  1-5, Tab, arrows   views: brokers, topics, groups, queues, tail
  up down j k        choose a row; PageUp, PageDown, Home, End
  Enter              a group's queues, a topic's newest messages
  Esc                back
  s                  order by size or by name
  /                  show only rows with a text in their name; Esc ends it
  p, space           pause
  r                  ask now
  + -                ask less or more often
  q, Ctrl-C          end
";

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, state: &mut State) {
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(3), Constraint::Length(1)]).areas(frame.area());
    let tabs = Tabs::new(View::ALL.map(View::title))
        .select(state.view.place())
        .highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_widget(tabs, top);
    match state.view {
        View::Brokers => brokers_view(frame, middle, model, state),
        View::Topics => topics_view(frame, middle, model, state),
        View::Groups => groups_view(frame, middle, model, state),
        View::Queues => queues_view(frame, middle, model, state),
        View::Tail => tail_view(frame, middle, model, state),
    }
    frame.render_widget(status(model, state), bottom);
    if state.help {
        let area = middle.centered(Constraint::Length(78), Constraint::Length(13));
        frame.render_widget(Clear, area);
        frame.render_widget(
            Paragraph::new(HELP.trim_matches('\n')).block(Block::bordered().title(" Keys ")),
            area,
        );
    }
}

fn status<'a>(model: &Model, state: &State) -> Line<'a> {
    if state.filtering {
        return Line::from(format!("/{}_", state.filter));
    }
    if let Some(failure) = &model.failure {
        return Line::styled(failure.clone(), Style::new().fg(Color::Red));
    }
    if model.is_empty() {
        return Line::from("asking the cluster...");
    }
    let order = if state.by_size { "size" } else { "name" };
    let filter = if state.filter.is_empty() {
        String::new()
    } else {
        format!("  filter {}", state.filter)
    };
    let pace = if state.paused {
        "paused".to_owned()
    } else {
        format!("every {} s", state.every)
    };
    Line::from(format!(
        "{}  {pace}  by {order}{filter}  ? keys  q end",
        local(model.asked_ms)
    ))
}

/// A table whose chosen row is marked and stays in sight.
fn table<'a>(
    frame: &mut Frame<'_>,
    area: Rect,
    state: &mut State,
    (title, columns, widths): (String, &[&'static str], &[Constraint]),
    rows: Vec<Row<'a>>,
) {
    state.row = state.row.min(rows.len().saturating_sub(1));
    let chosen = if rows.is_empty() { None } else { Some(state.row) };
    // Numbers stand at the right, and so does what is above them.
    let heading = columns.iter().map(|column| match column.strip_prefix('>') {
        Some(column) => right(column.to_owned()),
        None => Line::from(*column),
    });
    let heading = Row::new(heading).style(Style::new().add_modifier(Modifier::BOLD));
    let table = Table::new(rows, widths.iter().copied())
        .header(heading)
        .block(Block::bordered().title(title))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, area, &mut TableState::default().with_selected(chosen));
}

/// A number with marks between thousands.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

fn rate(rate: f64) -> String {
    format!("{rate:.1}")
}

fn right(text: String) -> Line<'static> {
    Line::from(text).right_aligned()
}

fn brokers_view(frame: &mut Frame<'_>, area: Rect, model: &Model, state: &mut State) {
    let mut brokers: Vec<&Broker> = model
        .brokers
        .iter()
        .filter(|broker| state.accepts(&broker.name))
        .collect();
    if state.by_size {
        brokers.sort_by(|one, other| other.in_rate.total_cmp(&one.in_rate));
    }
    let rows = brokers.iter().map(|broker| {
        let figure = |name: &str| broker.figures.get(name).cloned().unwrap_or_default();
        let disk = figure("commitLogDiskRatio")
            .parse::<f64>()
            .map_or(String::new(), |ratio| format!("{:.0}%", ratio * 100.0));
        let role = if broker.id == 0 {
            "master".to_owned()
        } else {
            format!("slave {}", broker.id)
        };
        let state = broker.failure.clone().unwrap_or_else(|| figure("brokerVersionDesc"));
        let style = if broker.failure.is_some() {
            Style::new().fg(Color::Red)
        } else {
            Style::new()
        };
        Row::new([
            Line::from(broker.cluster.clone()),
            Line::from(broker.name.clone()),
            Line::from(role),
            Line::from(broker.address.clone()),
            right(rate(broker.in_rate)),
            right(rate(broker.out_rate)),
            right(figure("putLatency99")),
            right(disk),
            right(figure("connections")),
            Line::from(state),
        ])
        .style(style)
    });
    let columns = [
        "Cluster", "Broker", "Role", "Address", ">in/s", ">out/s", ">p99 ms", ">Disk", ">Conn", "Version",
    ];
    let widths = [14, 14, 7, 21, 10, 10, 7, 4, 5, 7].map(Constraint::Length);
    let title = format!(" Brokers {} ", brokers.len());
    let rows = rows.collect();
    table(frame, area, state, (title, &columns, &widths), rows);
}

/// Topics as they are shown.
pub(super) fn topics<'a>(model: &'a Model, state: &State) -> Vec<&'a Topic> {
    let mut topics: Vec<&Topic> = model.topics.iter().filter(|topic| state.accepts(&topic.name)).collect();
    if state.by_size {
        topics.sort_by(|one, other| {
            other
                .in_rate
                .total_cmp(&one.in_rate)
                .then(other.messages.cmp(&one.messages))
        });
    }
    topics
}

fn topics_view(frame: &mut Frame<'_>, area: Rect, model: &Model, state: &mut State) {
    let topics = topics(model, state);
    let rows = topics.iter().map(|topic| {
        let updated = if topic.updated_ms > 0 {
            local(topic.updated_ms)
        } else {
            String::new()
        };
        Row::new([
            Line::from(topic.name.clone()),
            right(rate(topic.in_rate)),
            right(grouped(topic.messages)),
            right(topic.queues.to_string()),
            Line::from(updated),
        ])
    });
    let columns = ["Topic", ">in/s", ">Messages", ">Queues", "Last message"];
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(12),
        Constraint::Length(16),
        Constraint::Length(8),
        Constraint::Length(20),
    ];
    let title = format!(" Topics {} ", topics.len());
    let rows = rows.collect();
    table(frame, area, state, (title, &columns, &widths), rows);
}

/// Groups as they are shown.
pub(super) fn groups<'a>(model: &'a Model, state: &State) -> Vec<&'a Group> {
    let mut groups: Vec<&Group> = model.groups.iter().filter(|group| state.accepts(&group.name)).collect();
    if state.by_size {
        groups.sort_by_key(|group| std::cmp::Reverse(group.lag));
    }
    groups
}

fn groups_view(frame: &mut Frame<'_>, area: Rect, model: &Model, state: &mut State) {
    let groups = groups(model, state);
    let rows = groups.iter().map(|group| {
        let left = if group.lag > 0 && group.rate > 0.0 {
            time_left(group)
        } else {
            String::new()
        };
        Row::new([
            Line::from(group.name.clone()),
            right(grouped(group.lag)),
            right(rate(group.rate)),
            right(left),
            right(group.topics.to_string()),
            right(group.queues.len().to_string()),
        ])
    });
    let columns = [
        "Consumer group",
        ">Lag",
        ">consumed/s",
        ">Done in",
        ">Topics",
        ">Queues",
    ];
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(16),
        Constraint::Length(12),
        Constraint::Length(10),
        Constraint::Length(8),
        Constraint::Length(8),
    ];
    let title = format!(" Consumer groups {} ", groups.len());
    let rows = rows.collect();
    table(frame, area, state, (title, &columns, &widths), rows);
}

#[expect(clippy::cast_precision_loss, reason = "a guess for people")]
fn time_left(group: &Group) -> String {
    let seconds = group.lag as f64 / group.rate;
    if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else if seconds < 7_200.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.0} h", seconds / 3_600.0)
    }
}

fn queues_view(frame: &mut Frame<'_>, area: Rect, model: &Model, state: &mut State) {
    let name = state.group.clone().unwrap_or_default();
    let mut queues = model.group(&name).map(|group| group.queues.clone()).unwrap_or_default();
    queues.retain(|(queue, _offset)| state.accepts(&queue.topic));
    if state.by_size {
        queues.sort_by_key(|(_queue, offset)| std::cmp::Reverse(diff(offset)));
    }
    let most = queues
        .iter()
        .map(|(_queue, offset)| diff(offset))
        .max()
        .unwrap_or(0)
        .max(1);
    let rows = queues.iter().map(|(queue, offset)| {
        // A bar as long as the lag, beside the queue that is furthest behind.
        let length = usize::try_from(diff(offset).max(0).saturating_mul(10) / most).unwrap_or(0);
        let last = if offset.last_timestamp > 0 {
            local(offset.last_timestamp)
        } else {
            String::new()
        };
        Row::new([
            Line::from(queue.topic.clone()),
            Line::from(queue.broker_name.clone()),
            right(queue.queue_id.to_string()),
            right(grouped(offset.broker_offset)),
            right(grouped(offset.consumer_offset)),
            right(grouped(diff(offset))),
            Line::from("#".repeat(length)),
            Line::from(last),
        ])
    });
    let columns = [
        "Topic",
        "Broker",
        ">Queue",
        ">Broker offset",
        ">Consumer offset",
        ">Lag",
        "",
        "Last consumed",
    ];
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(14),
        Constraint::Length(5),
        Constraint::Length(15),
        Constraint::Length(15),
        Constraint::Length(12),
        Constraint::Length(10),
        Constraint::Length(19),
    ];
    let title = format!(" Queues of {name}: {} ", queues.len());
    let rows = rows.collect();
    table(frame, area, state, (title, &columns, &widths), rows);
}

fn tail_view(frame: &mut Frame<'_>, area: Rect, model: &Model, state: &mut State) {
    let rows = model.tail.iter().map(|(queue, message)| {
        // Letters that would move a terminal's cursor are shown as blanks.
        let body: String = message_text::body(message)
            .chars()
            .take(200)
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        Row::new([
            Line::from(local_with_millis(message.store_timestamp)),
            Line::from(queue.broker_name.to_string()),
            right(message.queue_id.to_string()),
            right(message.queue_offset.to_string()),
            Line::from(message.tag().unwrap_or_default().to_owned()),
            Line::from(body),
        ])
    });
    let columns = ["Stored", "Broker", ">Queue", ">Offset", "Tag", "Body"];
    let widths = [
        Constraint::Length(23),
        Constraint::Length(14),
        Constraint::Length(5),
        Constraint::Length(10),
        Constraint::Length(12),
        Constraint::Fill(1),
    ];
    let title = format!(" Newest messages of {} ", state.topic.as_deref().unwrap_or("no topic"));
    let rows = rows.collect();
    table(frame, area, state, (title, &columns, &widths), rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_parted() {
        assert_eq!(
            [0, 999, 1_000, -1_234_567].map(grouped),
            ["0", "999", "1,000", "-1,234,567"]
        );
    }
}
