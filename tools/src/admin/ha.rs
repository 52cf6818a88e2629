//! Replication, as brokers tell of it.

use super::args::OfBrokers;
use super::context::Context;
use super::error::Error;
use super::registry::{Entry, Run};
use super::time_text::local_with_millis;
use clap::Args;
use protocol::body::ha::HaRuntimeInfo;
use protocol::response_code::ResponseCode;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

pub(super) const COMMANDS: &[Entry] = &[Entry::new::<HaStatus>(
    ("haStatus", "broker replication"),
    "How far slaves are behind their masters",
    &["-c DefaultCluster", "-b 127.0.0.1:10911 -o json"],
)];

#[derive(Debug, Args)]
pub(super) struct HaStatus {
    #[command(flatten)]
    of: OfBrokers,
    /// Print again after so many seconds, until stopped
    #[arg(short, long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval: Option<u64>,
}

impl Run for HaStatus {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        loop {
            self.once(context, out).await?;
            let Some(interval) = self.interval else { return Ok(()) };
            out.flush()?;
            runtime::sleep(Duration::from_secs(interval)).await;
        }
    }
}

impl HaStatus {
    async fn once(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let mut all = BTreeMap::new();
        for broker in context.masters(&self.of.target()?).await? {
            let status = context
                .admin
                .ha_status(&broker)
                .await
                .map_err(|error| match error.code() {
                    Some(ResponseCode::REQUEST_CODE_NOT_SUPPORTED) => {
                        let fix = "`mqadmin doctor` compares masters and slaves by their logs";
                        Error::other(
                            format!("the broker at {broker} does not tell of its replication yet"),
                            fix,
                        )
                    }
                    _ => error.into(),
                })?;
            if !context.wants_document() {
                print(&broker, &status, out)?;
            }
            all.insert(broker, status);
        }
        if context.wants_document() {
            context.document(out, &all)?;
        }
        Ok(())
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people are printed with two digits"
)]
fn kib(bytes: i64) -> f64 {
    bytes as f64 / 1024.0
}

fn print(broker: &str, status: &HaRuntimeInfo, out: &mut dyn Write) -> Result<(), Error> {
    if !status.master {
        let info = &status.ha_client_runtime_info;
        writeln!(
            out,
            "\n#MasterAddr\t{}",
            info.master_addr.as_deref().unwrap_or_default()
        )?;
        writeln!(out, "#CommitLogMaxOffset\t{}", info.max_offset)?;
        writeln!(out, "#TransferSpeed(KB/s)\t{:.2}", kib(info.transferred_byte_in_second))?;
        writeln!(out, "#LastReadTime\t{}", local_with_millis(info.last_read_timestamp))?;
        writeln!(out, "#LastWriteTime\t{}", local_with_millis(info.last_write_timestamp))?;
        return Ok(writeln!(out, "#MasterFlushOffset\t{}", info.master_flush_offset)?);
    }
    writeln!(out, "\n#MasterAddr\t{broker}")?;
    writeln!(
        out,
        "#MasterCommitLogMaxOffset\t{}",
        status.master_commit_log_max_offset
    )?;
    writeln!(out, "#SlaveNum\t{}", status.ha_connection_info.len())?;
    writeln!(out, "#InSyncSlaveNum\t{}", status.in_sync_slave_nums)?;
    writeln!(
        out,
        "{:<32}  {:<16} {:>16} {:>16} {:>16} {:>16}",
        "#SlaveAddr", "#SlaveAckOffset", "#Diff", "#TransferSpeed(KB/s)", "#Status", "#TransferFromWhere"
    )?;
    for slave in &status.ha_connection_info {
        writeln!(
            out,
            "{:<32}  {:<16} {:>16} {:>16.2} {:>16} {:>16}",
            slave.addr,
            slave.slave_ack_offset,
            slave.diff,
            kib(slave.transferred_byte_in_second),
            if slave.in_sync { "OK" } else { "Fall Behind" },
            slave.transfer_from_where
        )?;
    }
    Ok(())
}
