use super::*;
use std::collections::BTreeSet;

fn parses(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches('\'')).collect();
    command_line().try_get_matches_from(words).is_ok()
}

#[test]
fn the_command_line_has_no_letter_twice() {
    command_line().debug_assert();
}

#[test]
fn every_command_has_an_own_name_words_for_it_and_examples_that_parse() {
    let mut names = BTreeSet::new();
    for entry in registry::entries() {
        for name in [entry.apache, entry.modern] {
            assert!(name.is_empty() || names.insert(name), "{name} is there twice");
        }
        let name = if entry.apache.is_empty() {
            entry.modern
        } else {
            entry.apache
        };
        assert!(!entry.about.is_empty(), "{name}");
        if let Does::Missing(_) = entry.does {
            continue;
        }
        assert!(!entry.modern.is_empty() && entry.examples.len() >= 2, "{name}");
        for line in entry.command_lines() {
            assert!(parses(&line), "{line}");
        }
    }
    // RocketMQ 5.5.0 has so many.
    let of_apache = registry::entries().filter(|entry| !entry.apache.is_empty());
    assert_eq!(of_apache.count(), 96);
}

#[test]
fn each_argument_says_what_it_is() {
    fn check(command: &Command) {
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(
                argument.get_help().is_some(),
                "{} {}",
                command.get_name(),
                argument.get_id()
            );
        }
        command.get_subcommands().for_each(check);
    }
    check(&command_line());
}

#[test]
fn apaches_letters_parse_and_what_makes_no_sense_does_not() {
    for line in [
        "mqadmin updateTopic -n a:1 -c C -t T -r 4 -w 4 -p 6 -o true -u false -s false -a +message.type=FIFO",
        "mqadmin sendMessage -n a:1 -t T -p body -k key -c tag -b broker-a -i 2",
        "mqadmin consumerProgress -g G -t T -c C",
        "mqadmin resetOffsetByTime -g G -t T -s now -f true -b a:1 -q 0 -o 5",
        "mqadmin updateSubGroup -c C -g G -s true -m true -d true -o true -q 1 -r 16 -i 0 -w 1 -a true",
        "mqadmin printMsg -t T -c UTF-8 -s TagA||TagB -b 0 -e 2026-01-01#00:00:00:000 -d false",
        "mqadmin clusterList -m -i 5",
        "mqadmin addBroker -c a:1 -b file",
    ] {
        assert!(parses(line), "{line}");
    }
    for line in [
        "mqadmin sendMessage -n a:1 -t T -p body -i 2",
        "mqadmin updateTopic -t T",
        "mqadmin topicList --watch=0",
        "mqadmin topicList --output xml",
        "mqadmin getBrokerConfig",
    ] {
        assert!(!parses(line), "{line}");
    }
}
