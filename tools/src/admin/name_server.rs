//! Name servers: their configuration, the KV config that they keep, the write permission of broker groups.

use super::context::Context;
use super::error::Error;
use super::registry::{Entry, Run};
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<GetNamesrvConfig>(
        ("getNamesrvConfig", "namesrv config"),
        "Configuration of every name server",
        &["-n 127.0.0.1:9876", "-o json"],
    ),
    Entry::new::<UpdateNamesrvConfig>(
        ("updateNamesrvConfig", "namesrv set-config"),
        "Change a key of the configuration of every name server",
        &["-k orderMessageEnable -v true", "-k orderMessageEnable -v false"],
    ),
    Entry::new::<UpdateKvConfig>(
        ("updateKvConfig", "namesrv set-kv"),
        "Set a text of the KV config at every name server",
        &["-s MyNamespace -k key -v value", "-s MyNamespace -k key -v other"],
    ),
    Entry::new::<DeleteKvConfig>(
        ("deleteKvConfig", "namesrv delete-kv"),
        "Remove a text of the KV config at every name server",
        &["-s MyNamespace -k key", "-s MyNamespace -k other"],
    ),
    Entry::new::<WipeWritePerm>(
        ("wipeWritePerm", "namesrv wipe-write"),
        "Producers send no more to a broker group, until add-write: it can be drained and stopped",
        &["-b broker-a", "-b broker-a -n 10.0.0.1:9876"],
    ),
    Entry::new::<AddWritePerm>(
        ("addWritePerm", "namesrv add-write"),
        "Producers may send to a broker group again",
        &["-b broker-a", "-b broker-a -n 10.0.0.1:9876"],
    ),
];

#[derive(Debug, Args)]
pub(super) struct GetNamesrvConfig {}

impl Run for GetNamesrvConfig {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let mut all = BTreeMap::new();
        for server in context.client.name_servers() {
            let config = context.admin.name_server_config(server).await?;
            if !context.wants_document() {
                writeln!(out, "============{server}============")?;
                for (key, value) in &config {
                    writeln!(out, "{key:<50}=  {value}")?;
                }
            }
            all.insert(server.clone(), config);
        }
        if context.wants_document() {
            context.document(out, &all)?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct UpdateNamesrvConfig {
    /// The key
    #[arg(short, long)]
    key: String,
    /// Its new value
    #[arg(short, long)]
    value: String,
}

impl Run for UpdateNamesrvConfig {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let (key, value) = (self.key.trim(), self.value.trim());
        context.admin.update_name_server_config(&[(key, value)]).await?;
        let servers = context.client.name_servers();
        if context.wants_document() {
            return context.document(out, &json!({"nameServers": servers, key: value}));
        }
        Ok(writeln!(
            out,
            "update name server config success![{}]\n{key} : {value}",
            servers.join(", ")
        )?)
    }
}

#[derive(Debug, Args)]
pub(super) struct UpdateKvConfig {
    /// The namespace
    #[arg(short = 's', long)]
    namespace: String,
    /// The key
    #[arg(short, long)]
    key: String,
    /// The text
    #[arg(short, long)]
    value: String,
}

impl Run for UpdateKvConfig {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let (namespace, key, value) = (self.namespace.trim(), self.key.trim(), self.value.trim());
        context.admin.put_kv(namespace, key, value).await?;
        if context.wants_document() {
            return context.document(out, &json!({"namespace": namespace, "key": key, "value": value}));
        }
        Ok(writeln!(out, "create or update kv config to namespace success.")?)
    }
}

#[derive(Debug, Args)]
pub(super) struct DeleteKvConfig {
    /// The namespace
    #[arg(short = 's', long)]
    namespace: String,
    /// The key
    #[arg(short, long)]
    key: String,
}

impl Run for DeleteKvConfig {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let (namespace, key) = (self.namespace.trim(), self.key.trim());
        context.admin.delete_kv(namespace, key).await?;
        if context.wants_document() {
            return context.document(out, &json!({"namespace": namespace, "deleted": key}));
        }
        Ok(writeln!(out, "delete kv config from namespace success.")?)
    }
}

#[derive(Debug, Args)]
pub(super) struct WipeWritePerm {
    /// The broker group with this name
    #[arg(short, long = "brokerName", alias = "broker", value_name = "NAME")]
    broker_name: String,
}

impl Run for WipeWritePerm {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let ask = async |server: &str, broker: &str| context.admin.wipe_write_perm(server, broker).await;
        change_perm(context, "wipe", self.broker_name.trim(), ask, out).await
    }
}

#[derive(Debug, Args)]
pub(super) struct AddWritePerm {
    /// The broker group with this name
    #[arg(short, long = "brokerName", alias = "broker", value_name = "NAME")]
    broker_name: String,
}

impl Run for AddWritePerm {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let ask = async |server: &str, broker: &str| context.admin.add_write_perm(server, broker).await;
        change_perm(context, "add", self.broker_name.trim(), ask, out).await
    }
}

/// Changes the permission at every name server: one that fails does not keep the others from it, and fails the command.
async fn change_perm(
    context: &Context,
    verb: &str,
    broker: &str,
    ask: impl AsyncFn(&str, &str) -> Result<i32, client::Error>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let (mut done, mut failure) = (BTreeMap::new(), None);
    for server in context.client.name_servers() {
        match ask(server, broker).await {
            Ok(count) => {
                if !context.wants_document() {
                    writeln!(
                        out,
                        "{verb} write perm of broker[{broker}] in name server[{server}] OK, {count}"
                    )?;
                }
                done.insert(server, count);
            }
            Err(error) => {
                if !context.wants_document() {
                    writeln!(
                        out,
                        "{verb} write perm of broker[{broker}] in name server[{server}] Failed"
                    )?;
                }
                failure = Some(error);
            }
        }
    }
    if context.wants_document() {
        context.document(out, &json!({"brokerName": broker, "topicsByNameServer": done}))?;
    }
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}
