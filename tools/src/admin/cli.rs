//! The command line of mqadmin. Commands under Apache's names are hidden from the overview, but each has its own help;
//! the modern spelling is made of the same arguments.

use super::context::{Context, NAMESRV_DEFAULT, Target};
use super::error::Error;
use super::message::Place;
use super::spelling::normalize;
use super::{broker, cluster, consumer, message, topic};
use crate::output::{self, Format};
use clap::{ArgAction, ArgGroup, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use client::Message;
use protocol::body::topic::{SINGLE_TAG, TopicConfig};
use runtime::probe::{IoPath, Refusal};
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

/// Questions to a RocketMQ-compatible cluster and changes to it.
///
/// Apache's command names and letters work as they are (`mqadmin clusterList -n 127.0.0.1:9876`).
#[derive(Debug, Parser)]
#[command(
    name = "mqadmin",
    version,
    arg_required_else_help = true,
    after_help = "Examples:
  mqadmin cluster list -n 127.0.0.1:9876        or  mqadmin clusterList -n 127.0.0.1:9876
  mqadmin topic create -t Orders -c DefaultCluster -r 8 -w 8
  mqadmin message send -t Orders -p 'hello' -k order-17 -c TagA

Apache's names: clusterList, topicList, topicRoute, topicStatus, updateTopic, deleteTopic, sendMessage, brokerStatus,
getBrokerConfig, updateBrokerConfig, consumerProgress.
Name servers: -n, else NAMESRV_ADDR, else 127.0.0.1:9876. Exit codes: 0 done, 1 failed, 2 usage."
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Clusters: list
    #[command(subcommand, arg_required_else_help = true)]
    Cluster(ClusterCommand),
    /// Topics: list, route, status, create, delete
    #[command(subcommand, arg_required_else_help = true)]
    Topic(TopicCommand),
    /// Messages: send
    #[command(subcommand, arg_required_else_help = true)]
    Message(MessageCommand),
    /// Brokers: status, config, set-config
    #[command(subcommand, arg_required_else_help = true)]
    Broker(BrokerCommand),
    /// Consumer groups: progress
    #[command(subcommand, arg_required_else_help = true)]
    Consumer(ConsumerCommand),
    #[command(name = "clusterList", hide = true)]
    ClusterList(ClusterList),
    #[command(name = "topicList", hide = true)]
    TopicList(TopicList),
    #[command(name = "topicRoute", hide = true)]
    TopicRoute(TopicRoute),
    #[command(name = "topicStatus", hide = true)]
    TopicStatus(TopicStatus),
    #[command(name = "updateTopic", hide = true)]
    UpdateTopic(UpdateTopic),
    #[command(name = "deleteTopic", hide = true)]
    DeleteTopic(DeleteTopic),
    #[command(name = "sendMessage", hide = true)]
    SendMessage(SendMessage),
    #[command(name = "brokerStatus", hide = true)]
    BrokerStatus(OfBrokers),
    #[command(name = "getBrokerConfig", hide = true)]
    GetBrokerConfig(OfBrokers),
    #[command(name = "updateBrokerConfig", hide = true)]
    UpdateBrokerConfig(UpdateBrokerConfig),
    #[command(name = "consumerProgress", hide = true)]
    ConsumerProgress(ConsumerProgress),
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Brokers of all clusters and how busy they are
    List(ClusterList),
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Names of all topics
    List(TopicList),
    /// Brokers and queues of a topic
    Route(TopicRoute),
    /// Offsets of a topic's queues
    Status(TopicStatus),
    /// Make a topic, or change it
    #[command(alias = "update")]
    Create(UpdateTopic),
    /// Delete a topic with its messages
    Delete(DeleteTopic),
}

#[derive(Debug, Subcommand)]
enum MessageCommand {
    /// Send a message
    Send(SendMessage),
}

#[derive(Debug, Subcommand)]
enum BrokerCommand {
    /// Every figure that brokers tell of themselves
    Status(OfBrokers),
    /// Configuration of brokers
    Config(OfBrokers),
    /// Change a key of the configuration of running brokers
    SetConfig(UpdateBrokerConfig),
}

#[derive(Debug, Subcommand)]
enum ConsumerCommand {
    /// How far consumer groups are behind
    Progress(ConsumerProgress),
}

#[derive(Debug, Args)]
struct Servers {
    /// Name servers, HOST:PORT, several parted by ';' [default: NAMESRV_ADDR, else 127.0.0.1:9876]
    #[arg(short = 'n', long = "namesrvAddr", alias = "namesrv", value_name = "ADDRS")]
    namesrv_addr: Option<String>,
    /// Seconds to wait for an answer
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    servers: Servers,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mqadmin clusterList -n 127.0.0.1:9876
  mqadmin cluster list -c DefaultCluster -o json")]
struct ClusterList {
    #[command(flatten)]
    common: Common,
    /// Totals of yesterday and today instead
    #[arg(short, long = "moreStats")]
    more_stats: bool,
    /// Print again after so many seconds, until stopped
    #[arg(short, long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval: Option<u64>,
    /// Only this cluster
    #[arg(short, long = "clusterName", alias = "cluster")]
    cluster_name: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mqadmin topicList -n 127.0.0.1:9876
  mqadmin topic list -c")]
struct TopicList {
    #[command(flatten)]
    common: Common,
    /// With clusters and consumer groups
    #[arg(short, long = "clusterModel")]
    cluster_model: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mqadmin topicRoute -t Orders
  mqadmin topic route -t Orders -l")]
struct TopicRoute {
    #[command(flatten)]
    common: Common,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// As a list instead of JSON
    #[arg(short, long)]
    list: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mqadmin topicStatus -t Orders
  mqadmin topic status -t Orders -o json")]
struct TopicStatus {
    #[command(flatten)]
    common: Common,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// Ask the masters of this cluster instead of those of the topic's route
    #[arg(short, long)]
    cluster: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("target").required(true).args(["broker_addr", "cluster_name"]),
    after_help = "Examples:
  mqadmin updateTopic -c DefaultCluster -t Orders -r 8 -w 8
  mqadmin topic create -b 127.0.0.1:10911 -t Orders -a +message.type=FIFO

-o is Apache's letter for an order topic here; use --output for the form of the result."
)]
struct UpdateTopic {
    #[command(flatten)]
    servers: Servers,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// On the broker at this address
    #[arg(short, long = "brokerAddr", alias = "broker", value_name = "HOST:PORT")]
    broker_addr: Option<String>,
    /// On all masters of this cluster
    #[arg(short, long = "clusterName", alias = "cluster")]
    cluster_name: Option<String>,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// Queues to read from
    #[arg(short, long = "readQueueNums", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(i32).range(0..))]
    read_queue_nums: i32,
    /// Queues to write to
    #[arg(short, long = "writeQueueNums", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(i32).range(0..))]
    write_queue_nums: i32,
    /// What is allowed: 2 to write, 4 to read, 6 both
    #[arg(short, long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(0..=7))]
    perm: i32,
    /// An order topic, whose queues the name servers know: true or false
    #[arg(short, long, action = ArgAction::Set, default_value_t = false)]
    order: bool,
    /// A unit topic: true or false
    #[arg(short, long, action = ArgAction::Set, default_value_t = false)]
    unit: bool,
    /// Has subscriptions of other units: true or false
    #[arg(short = 's', long = "hasUnitSub", action = ArgAction::Set, default_value_t = false)]
    has_unit_sub: bool,
    /// Attributes to set, +KEY=VALUE, parted by commas
    #[arg(short, long, value_delimiter = ',', value_parser = attribute)]
    attributes: Vec<(String, String)>,
}

/// Apache's way to write one edit of an attribute.
fn attribute(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.len() > 1 && key.starts_with('+') => Ok((key.to_owned(), value.to_owned())),
        None if text.len() > 1 && text.starts_with('-') => Ok((text.to_owned(), String::new())),
        _ => Err("write +KEY=VALUE to set an attribute, -KEY to remove one".to_owned()),
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mqadmin deleteTopic -c DefaultCluster -t Orders
  mqadmin topic delete -c DefaultCluster -t Orders -o json")]
struct DeleteTopic {
    #[command(flatten)]
    common: Common,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// From the masters of this cluster, and from the name servers
    #[arg(short, long = "clusterName", alias = "cluster")]
    cluster_name: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mqadmin sendMessage -t Orders -p 'hello' -k order-17 -c TagA
  mqadmin message send -t Orders -p 'hello' -b broker-a -i 3 -o json")]
struct SendMessage {
    #[command(flatten)]
    common: Common,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The body, as UTF-8
    #[arg(short = 'p', long)]
    body: String,
    /// Keys to find it by, parted by blanks
    #[arg(short, long)]
    key: Option<String>,
    /// Its tag
    #[arg(short = 'c', long)]
    tags: Option<String>,
    /// To the broker group with this name
    #[arg(short, long, value_name = "NAME")]
    broker: Option<String>,
    /// To the queue with this number; needs --broker
    #[arg(short = 'i', long, value_name = "N", requires = "broker", value_parser = clap::value_parser!(i32).range(0..))]
    qid: Option<i32>,
}

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("target").required(true).args(["broker_addr", "cluster_name"]),
    after_help = "Examples:
  -b 127.0.0.1:10911      the broker at this address
  -c DefaultCluster       all brokers of a cluster"
)]
struct OfBrokers {
    #[command(flatten)]
    common: Common,
    /// The broker at this address
    #[arg(short, long = "brokerAddr", alias = "broker", value_name = "HOST:PORT")]
    broker_addr: Option<String>,
    /// All brokers of this cluster
    #[arg(short, long = "clusterName", alias = "cluster")]
    cluster_name: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("target").required(true).args(["broker_addr", "cluster_name"]),
    after_help = "Examples:
  mqadmin updateBrokerConfig -b 127.0.0.1:10911 -k autoCreateTopicEnable -v false
  mqadmin broker set-config -c DefaultCluster -k autoCreateTopicEnable -v false"
)]
struct UpdateBrokerConfig {
    #[command(flatten)]
    common: Common,
    /// The broker at this address
    #[arg(short, long = "brokerAddr", alias = "broker", value_name = "HOST:PORT")]
    broker_addr: Option<String>,
    /// All masters of this cluster
    #[arg(short, long = "clusterName", alias = "cluster")]
    cluster_name: Option<String>,
    /// The key
    #[arg(short, long)]
    key: String,
    /// Its new value
    #[arg(short, long)]
    value: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mqadmin consumerProgress                   all groups
  mqadmin consumer progress -g Billing       one group, queue by queue")]
struct ConsumerProgress {
    #[command(flatten)]
    common: Common,
    /// The consumer group; without it, all of them
    #[arg(short, long = "groupName", alias = "group")]
    group_name: Option<String>,
    /// Only this topic
    #[arg(short, long = "topicName", alias = "topic", requires = "group_name")]
    topic_name: Option<String>,
    /// Ask the masters of this cluster instead of those that have the group's retry topic
    #[arg(short, long, requires = "group_name")]
    cluster: Option<String>,
}

/// Runs mqadmin with these arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = normalize(&CommandLine::command(), arguments);
    let matches = CommandLine::command().try_get_matches_from(arguments);
    let command = match matches.and_then(|matches| CommandLine::from_arg_matches(&matches)) {
        Ok(command_line) => command_line.command,
        Err(error) => return output::usage(&error),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let no_files = IoPath::Blocking(Refusal::Configured);
    let done = runtime::core::run_here(&no_files, command.run(&mut out));
    // What was found before something failed is told too.
    let flushed = out.flush().map_err(Error::from);
    match done.map_err(Error::from).and_then(|done| done).and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failure(&error),
    }
}

impl Servers {
    fn context(&self, format: Format) -> Result<Context, Error> {
        let of_environment = || {
            std::env::var("NAMESRV_ADDR")
                .ok()
                .filter(|addresses| !addresses.trim().is_empty())
        };
        let addresses = self.namesrv_addr.clone().or_else(of_environment);
        let addresses = addresses.as_deref().unwrap_or(NAMESRV_DEFAULT);
        Context::new(addresses, Duration::from_secs(self.timeout), format)
    }
}

impl Common {
    fn context(&self) -> Result<Context, Error> {
        self.servers.context(self.output)
    }
}

fn target(broker: Option<&str>, cluster: Option<&str>) -> Result<Target, Error> {
    match (broker, cluster) {
        (Some(address), _) => Ok(Target::Broker(address.trim().to_owned())),
        (None, Some(cluster)) => Ok(Target::Cluster(cluster.trim().to_owned())),
        (None, None) => Err(Error::other("neither a broker nor a cluster is given", "give -b or -c")),
    }
}

impl Command {
    async fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        match self {
            Command::ClusterList(arguments) | Command::Cluster(ClusterCommand::List(arguments)) => {
                arguments.run(out).await
            }
            Command::TopicList(arguments) | Command::Topic(TopicCommand::List(arguments)) => {
                let context = arguments.common.context()?;
                if arguments.cluster_model {
                    topic::list_with_groups(&context, out).await
                } else {
                    topic::list(&context, out).await
                }
            }
            Command::TopicRoute(arguments) | Command::Topic(TopicCommand::Route(arguments)) => {
                let context = arguments.common.context()?;
                topic::route(&context, arguments.topic.trim(), arguments.list, out).await
            }
            Command::TopicStatus(arguments) | Command::Topic(TopicCommand::Status(arguments)) => {
                let (context, cluster) = (arguments.common.context()?, arguments.cluster.as_deref());
                topic::status(&context, arguments.topic.trim(), cluster, out).await
            }
            Command::UpdateTopic(arguments) | Command::Topic(TopicCommand::Create(arguments)) => {
                let target = target(arguments.broker_addr.as_deref(), arguments.cluster_name.as_deref())?;
                let context = arguments.servers.context(arguments.output)?;
                topic::update(&context, &target, &arguments.config(), out).await
            }
            Command::DeleteTopic(arguments) | Command::Topic(TopicCommand::Delete(arguments)) => {
                let context = arguments.common.context()?;
                topic::delete(&context, arguments.cluster_name.trim(), arguments.topic.trim(), out).await
            }
            Command::SendMessage(arguments) | Command::Message(MessageCommand::Send(arguments)) => {
                arguments.run(out).await
            }
            Command::BrokerStatus(arguments) | Command::Broker(BrokerCommand::Status(arguments)) => {
                broker::status(&arguments.common.context()?, &arguments.target()?, out).await
            }
            Command::GetBrokerConfig(arguments) | Command::Broker(BrokerCommand::Config(arguments)) => {
                broker::config(&arguments.common.context()?, &arguments.target()?, out).await
            }
            Command::UpdateBrokerConfig(arguments) | Command::Broker(BrokerCommand::SetConfig(arguments)) => {
                let target = target(arguments.broker_addr.as_deref(), arguments.cluster_name.as_deref())?;
                let entry = (arguments.key.trim(), arguments.value.trim());
                broker::update_config(&arguments.common.context()?, &target, entry, out).await
            }
            Command::ConsumerProgress(arguments) | Command::Consumer(ConsumerCommand::Progress(arguments)) => {
                let context = arguments.common.context()?;
                let (topic, cluster) = (arguments.topic_name.as_deref(), arguments.cluster.as_deref());
                match &arguments.group_name {
                    Some(group) => consumer::progress(&context, group.trim(), topic, cluster, out).await,
                    None => consumer::list(&context, out).await,
                }
            }
        }
    }
}

impl ClusterList {
    async fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        let context = self.common.context()?;
        loop {
            let done = cluster::list(&context, self.cluster_name.as_deref(), self.more_stats, out).await;
            let Some(interval) = self.interval else { return done };
            out.flush()?;
            // A broker that is away for a while does not end the watch.
            if let Err(error @ Error::Output(_)) = done {
                return Err(error);
            }
            runtime::sleep(Duration::from_secs(interval)).await;
        }
    }
}

impl UpdateTopic {
    fn config(self) -> TopicConfig {
        TopicConfig {
            topic_name: self.topic.trim().to_owned(),
            read_queue_nums: self.read_queue_nums,
            write_queue_nums: self.write_queue_nums,
            perm: self.perm,
            order: self.order,
            topic_filter_type: SINGLE_TAG.to_owned(),
            topic_sys_flag: i32::from(self.unit) | i32::from(self.has_unit_sub) << 1,
            attributes: self.attributes.into_iter().collect(),
        }
    }
}

impl SendMessage {
    async fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        let mut message = Message::new(self.topic.trim(), self.body.trim().to_owned());
        if let Some(tags) = &self.tags {
            message = message.tag(tags.trim());
        }
        if let Some(keys) = &self.key {
            message = message.keys(keys.trim());
        }
        let queue_id = self.qid;
        let place = self.broker.map(|broker_name| Place {
            broker_name: broker_name.trim().to_owned(),
            queue_id,
        });
        message::send(&self.common.context()?, &message, place.as_ref(), out).await
    }
}

impl OfBrokers {
    fn target(&self) -> Result<Target, Error> {
        target(self.broker_addr.as_deref(), self.cluster_name.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_no_letter_twice() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn each_command_has_examples_in_its_help() {
        fn check(command: &clap::Command) {
            if command.has_subcommands() {
                let commands = command.get_subcommands().filter(|found| found.get_name() != "help");
                commands.for_each(check);
            } else {
                let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(examples.starts_with("Examples:"), "{}", command.get_name());
            }
        }
        check(&CommandLine::command());
    }

    #[test]
    fn apaches_letters_parse_and_a_queue_needs_its_broker() {
        let parses = |line: &str| CommandLine::try_parse_from(line.split(' ')).is_ok();
        assert!(parses(
            "mqadmin updateTopic -n a:1 -c C -t T -r 4 -w 4 -p 6 -o true -u false -s false -a +message.type=FIFO"
        ));
        assert!(parses(
            "mqadmin sendMessage -n a:1 -t T -p body -k key -c tag -b broker-a -i 2"
        ));
        assert!(!parses("mqadmin sendMessage -n a:1 -t T -p body -i 2"));
        assert!(!parses("mqadmin updateTopic -t T"));
        assert!(parses("mqadmin consumerProgress -g G -t T -c C"));
    }
}
