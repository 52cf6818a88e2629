//! Brokers: figures and configuration.

use super::context::{Context, Target};
use super::error::Error;
use crate::output::{Format, json_document};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;

/// `brokerStatus`.
pub(super) async fn status(context: &Context, target: &Target, out: &mut dyn Write) -> Result<(), Error> {
    let mut all = BTreeMap::new();
    for address in context.everyone(target).await? {
        let figures = context.admin.runtime_info(&address).await?;
        all.insert(address, figures);
    }
    if context.format == Format::Json {
        return Ok(json_document(out, &all)?);
    }
    for (address, figures) in all {
        for (name, value) in figures {
            match target {
                Target::Broker(_) => writeln!(out, "{name:<32}: {value}")?,
                Target::Cluster(_) => writeln!(out, "{address:<24} {name:<32}: {value}")?,
            }
        }
    }
    Ok(())
}

/// `getBrokerConfig`.
pub(super) async fn config(context: &Context, target: &Target, out: &mut dyn Write) -> Result<(), Error> {
    let mut all = Vec::new();
    match target {
        Target::Broker(address) => {
            all.push((address.clone(), format!("============{address}============")));
        }
        Target::Cluster(cluster) => {
            let info = context.admin.cluster_info().await?;
            for data in Context::brokers_of(&info, cluster)?.values() {
                let master = data.broker_addrs.get(&0).map_or("NO_MASTER", String::as_str);
                for (id, address) in &data.broker_addrs {
                    let heading = match id {
                        0 => format!("============Master: {address}============"),
                        _ => format!("============My Master: {master}=====Slave: {address}============"),
                    };
                    all.push((address.clone(), heading));
                }
            }
        }
    }
    let mut configs = BTreeMap::new();
    for (address, heading) in all {
        let config = context.admin.broker_config(&address).await?;
        if context.format == Format::Table {
            writeln!(out, "{heading}")?;
            for (key, value) in &config {
                writeln!(out, "{key:<50}=  {value}")?;
            }
            writeln!(out)?;
        }
        configs.insert(address, config);
    }
    if context.format == Format::Json {
        json_document(out, &configs)?;
    }
    Ok(())
}

/// `updateBrokerConfig`.
pub(super) async fn update_config(
    context: &Context,
    target: &Target,
    (key, value): (&str, &str),
    out: &mut dyn Write,
) -> Result<(), Error> {
    let masters = context.masters(target).await?;
    for master in &masters {
        context.admin.update_broker_config(master, &[(key, value)]).await?;
        if context.format == Format::Table {
            writeln!(out, "update broker config success, {master}")?;
        }
    }
    if context.format == Format::Json {
        json_document(out, &json!({"brokers": masters, key: value}))?;
    }
    Ok(())
}
