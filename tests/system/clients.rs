//! Unmodified clients of RocketMQ against a running cluster: one test a client, each with all of its scenarios.

use std::sync::{Mutex, MutexGuard, PoisonError};
use tests::harness::{Client, Cluster, Report};

/// One client at a time: scenarios measure times, and mqadmin takes away the broker's write permission for a moment.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(client: &Client) -> Report {
    let _turn = turn();
    let cluster = Cluster::on_two_cores();
    client.run(&cluster.namesrv())
}

#[test]
fn java_clients_with_json_headers() {
    let report = run(&Client::java("JSON"));
    println!("{} Java scenarios passed with JSON headers", report.passed.len());
    report.assert_all_passed(81);
}

#[test]
fn java_clients_with_binary_headers() {
    let report = run(&Client::java("ROCKETMQ"));
    println!("{} Java scenarios passed with binary headers", report.passed.len());
    report.assert_all_passed(81);
}

#[test]
fn go_clients() {
    let report = run(&Client::go());
    println!("{} Go scenarios passed", report.passed.len());
    report.assert_all_passed(12);
}

#[test]
fn rust_client() {
    let report = run(&Client::rust());
    println!("{} Rust scenarios passed", report.passed.len());
    report.assert_all_passed(4);
}

#[test]
fn cpp_client() {
    let report = run(&Client::cpp());
    println!("{} C++ scenarios passed", report.passed.len());
    report.assert_all_passed(5);
}

#[test]
fn published_mqadmin() {
    let report = run(&Client::mqadmin());
    println!("{} rows of mqadmin passed", report.passed.len());
    report.assert_all_passed(55);
}
