//! Apache's ways of writing a command line, brought into the form that the parser here knows: command names in any case, and
//! long options with a single dash, as its commons-cli takes them. And ours: `-o json` means the output also where `-o` is a letter
//! of Apache's, whose values are never called so.

use clap::Command;
use std::ffi::OsString;

/// Values of `--output`.
const FORMATS: [&str; 4] = ["table", "wide", "json", "yaml"];

/// Arguments as `command` knows them; the first is the program's name.
pub(super) fn normalize(command: &Command, arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments.into_iter().peekable();
    let mut known: Vec<OsString> = arguments.next().into_iter().collect();
    let mut current = command;
    let mut options_only = false;
    while let Some(argument) = arguments.next() {
        let Some(text) = argument.to_str() else {
            known.push(argument);
            continue;
        };
        options_only |= text.starts_with('-');
        if !options_only && let Some(found) = find_command(current, text) {
            known.push(found.get_name().into());
            current = found;
        } else if text == "-o"
            && arguments
                .peek()
                .is_some_and(|next| FORMATS.iter().any(|format| next == format))
        {
            known.push("--output".into());
        } else if let Some(long) = long_option(current, text) {
            known.push(long.into());
        } else {
            known.push(argument);
        }
    }
    known
}

fn find_command<'a>(command: &'a Command, name: &str) -> Option<&'a Command> {
    command
        .get_subcommands()
        .find(|found| found.get_name().eq_ignore_ascii_case(name))
}

/// `--topic` for `-topic`, if that is an option of the command.
fn long_option(command: &Command, text: &str) -> Option<String> {
    let name = text
        .strip_prefix('-')
        .filter(|name| name.len() > 1 && !name.starts_with('-'))?;
    let name = name.split_once('=').map_or(name, |(name, _value)| name);
    let is_known = command
        .get_arguments()
        .any(|argument| argument.get_long() == Some(name));
    is_known.then(|| format!("-{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    fn normalized(arguments: &[&str]) -> Vec<String> {
        let topic = Arg::new("topic").short('t').long("topic");
        let command = Command::new("mqadmin")
            .subcommand(Command::new("updateTopic").arg(topic.clone()))
            .subcommand(Command::new("topic").subcommand(Command::new("create").arg(topic)));
        let arguments = arguments.iter().map(OsString::from);
        let known = normalize(&command, arguments).into_iter();
        known.map(|argument| argument.into_string().unwrap()).collect()
    }

    #[test]
    fn names_in_any_case_and_long_options_with_one_dash_are_understood() {
        let expected = ["mqadmin", "updateTopic", "--topic", "T"];
        assert_eq!(normalized(&["mqadmin", "UPDATETOPIC", "-topic", "T"]), expected);
        assert_eq!(normalized(&["mqadmin", "updateTopic", "--topic", "T"]), expected);
        let expected = ["mqadmin", "topic", "create", "--topic=T"];
        assert_eq!(normalized(&["mqadmin", "Topic", "Create", "-topic=T"]), expected);
    }

    #[test]
    fn the_letter_for_the_output_is_known_by_its_value() {
        let given = ["mqadmin", "updateTopic", "-o", "json", "-o", "true"];
        let expected = ["mqadmin", "updateTopic", "--output", "json", "-o", "true"];
        assert_eq!(normalized(&given), expected);
    }

    #[test]
    fn values_are_left_as_they_are() {
        let given = ["mqadmin", "updateTopic", "-t", "UPDATETOPIC", "-tX", "-other"];
        assert_eq!(normalized(&given), given);
    }
}
