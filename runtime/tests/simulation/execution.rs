//! Tasks, time, randomness, life and death of a process.

use crate::{LIMIT, address, one_node, options, wait_for_stop};
use runtime::mailbox::Mailboxes;
use runtime::sim::{Faults, NodeId, Simulation, Stopped};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

#[test]
fn an_hour_of_sleep_takes_an_hour_of_virtual_time_and_no_real_one() {
    let (simulation, node) = one_node(1, Faults::none());
    let slept = simulation
        .block_on(
            node,
            async {
                let start = runtime::Instant::now();
                runtime::sleep(Duration::from_secs(3600)).await;
                start.elapsed()
            },
            Duration::from_secs(4000),
        )
        .unwrap();
    assert!(slept >= Duration::from_secs(3600) && slept < Duration::from_secs(3601));
}

#[test]
fn seeds_choose_different_orders_of_ready_tasks() {
    let orders: BTreeSet<Vec<u32>> = (0..50)
        .map(|seed| {
            let (simulation, node) = one_node(seed, Faults::none());
            let order = Rc::new(RefCell::new(Vec::new()));
            for task in 0..4 {
                let order = Rc::clone(&order);
                let _runs_on = simulation.spawn(node, async move { order.borrow_mut().push(task) });
            }
            simulation.run_for(Duration::from_millis(1));
            order.take()
        })
        .collect();
    assert!(orders.len() > 10, "50 seeds gave only {} orders", orders.len());
    assert!(orders.iter().all(|order| order.len() == 4));
}

#[test]
fn a_task_that_yields_runs_after_all_that_were_ready() {
    for seed in 0..50 {
        let (simulation, node) = one_node(seed, Faults::none());
        let ran = Rc::new(Cell::new(0));
        let seen = simulation
            .block_on(
                node,
                {
                    let ran = Rc::clone(&ran);
                    async move {
                        for _ in 0..5 {
                            let ran = Rc::clone(&ran);
                            let _runs_on = runtime::spawn(async move { ran.set(ran.get() + 1) });
                        }
                        // Two turns: a woken task joins this one or the next.
                        runtime::yield_now().await;
                        runtime::yield_now().await;
                        ran.get()
                    }
                },
                LIMIT,
            )
            .unwrap();
        assert_eq!(seen, 5, "seed {seed}");
    }
}

#[test]
fn a_task_that_never_waits_does_not_stop_the_clock() {
    let (simulation, node) = one_node(1, Faults::none());
    let _spins = simulation.spawn(node, async {
        loop {
            runtime::yield_now().await;
        }
    });
    let slept = simulation.spawn(node, runtime::sleep(Duration::from_millis(1)));
    assert_eq!(simulation.run_until(|| slept.is_finished(), LIMIT), Ok(()));
}

#[test]
fn a_timeout_ends_work_that_is_too_slow_and_only_that() {
    let (simulation, node) = one_node(1, Faults::none());
    let outcomes = simulation.block_on(
        node,
        async {
            let second = Duration::from_secs(1);
            (
                runtime::timeout(second, runtime::sleep(second * 2)).await.is_ok(),
                runtime::timeout(second * 2, runtime::sleep(second)).await.is_ok(),
            )
        },
        LIMIT,
    );
    assert_eq!(outcomes, Ok((false, true)));
}

#[test]
fn an_aborted_task_is_dropped_and_its_handle_says_so() {
    let (simulation, node) = one_node(1, Faults::none());
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    let outcome = simulation.block_on(
        node,
        async move {
            let task = runtime::spawn(async move {
                runtime::sleep(LIMIT).await;
                drop(inside);
            });
            runtime::yield_now().await;
            task.abort();
            task.await
        },
        LIMIT,
    );
    assert_eq!(outcome, Ok(None));
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn waiting_for_what_cannot_happen_is_a_deadlock_that_names_the_node() {
    let (simulation, node) = one_node(1, Faults::none());
    let stopped = simulation
        .block_on(node, std::future::pending::<()>(), LIMIT)
        .unwrap_err();
    let Stopped::Deadlock(tasks) = stopped else {
        panic!("{stopped} is not a deadlock");
    };
    assert_eq!(tasks.get("one"), Some(&2));
}

#[test]
fn a_deadline_passes_before_what_comes_later() {
    let (simulation, node) = one_node(1, Faults::none());
    let stopped = simulation.block_on(node, runtime::sleep(LIMIT * 2), LIMIT).unwrap_err();
    assert!(matches!(stopped, Stopped::Deadline(_)), "{stopped}");
    assert!(simulation.now().as_nanos() >= 600_000_000_000);
}

#[test]
fn the_mailboxes_of_a_nodes_cores_carry_messages_in_order() {
    for seed in 0..20 {
        let simulation = Simulation::new(seed, options(Faults::none()));
        let node = simulation.node("three cores", address(1));
        let received = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&received);
        simulation.start_cores(node, 3, move || {
            let mailboxes = Mailboxes::new(3, 1000);
            let sink = Rc::clone(&sink);
            move |core| exchange(mailboxes.clone(), core, Rc::clone(&sink))
        });
        simulation.run_until(|| received.borrow().len() == 200, LIMIT).unwrap();
        for from in [1, 2] {
            let numbers: Vec<u32> = received
                .borrow()
                .iter()
                .filter(|(core, _number)| *core == from)
                .map(|(_core, number)| *number)
                .collect();
            assert_eq!(numbers, (0..100).collect::<Vec<u32>>(), "seed {seed}");
        }
    }
}

/// Cores 1 and 2 each send 100 numbers to core 0.
async fn exchange(mailboxes: Mailboxes<(usize, u32)>, core: usize, sink: Rc<RefCell<Vec<(usize, u32)>>>) {
    let post = Rc::new(mailboxes.post(core));
    let flusher = Rc::clone(&post);
    let _runs_on = runtime::spawn(async move { flusher.run_flusher().await });
    if core == 0 {
        let mut batch = Vec::new();
        loop {
            post.receive(&mut batch).await;
            sink.borrow_mut().append(&mut batch);
        }
    }
    for number in 0..100 {
        post.send(0, (core, number));
        if runtime::rng::random_below(3) == 0 {
            runtime::sleep(Duration::from_micros(5)).await;
        }
    }
    wait_for_stop().await;
}

#[test]
fn a_stopped_process_ends_by_itself_and_a_restarted_one_runs_again() {
    let (simulation, node) = one_node(1, Faults::none());
    simulation.run_for(Duration::from_millis(1));
    simulation.stop(node);
    simulation.run_until(|| !simulation.is_running(node), LIMIT).unwrap();
    simulation.restart(node);
    simulation.run_for(Duration::from_millis(1));
    assert!(simulation.is_running(node));
}

#[test]
fn a_crash_drops_every_task_of_the_node_and_no_other() {
    let simulation = Simulation::new(1, options(Faults::none()));
    let nodes: Vec<NodeId> = (1..3)
        .map(|number| simulation.node(&format!("node {number}"), address(number)))
        .collect();
    let alive: Vec<Rc<()>> = nodes
        .iter()
        .map(|&node| {
            let count = Rc::new(());
            simulation.start(node, wait_for_stop);
            let held = Rc::clone(&count);
            let _runs_on = simulation.spawn(node, async move {
                wait_for_stop().await;
                drop(held);
            });
            count
        })
        .collect();
    simulation.run_for(Duration::from_millis(1));
    simulation.crash(nodes[0]);
    assert_eq!(Rc::strong_count(&alive[0]), 1);
    assert_eq!(Rc::strong_count(&alive[1]), 2);
}

#[test]
fn a_paused_node_does_nothing_until_it_goes_on() {
    let (simulation, node) = one_node(1, Faults::none());
    let ticks = Rc::new(Cell::new(0));
    let counter = Rc::clone(&ticks);
    let _ticks_on = simulation.spawn(node, async move {
        loop {
            runtime::sleep(Duration::from_millis(10)).await;
            counter.set(counter.get() + 1);
        }
    });
    simulation.run_for(Duration::from_secs(1));
    let before = ticks.get();
    simulation.pause(node);
    simulation.run_for(Duration::from_secs(10));
    assert_eq!(ticks.get(), before);
    simulation.resume(node);
    simulation.run_for(Duration::from_secs(1));
    assert!(ticks.get() > before + 50);
}

#[test]
fn a_wall_clock_jumps_alone() {
    let (simulation, node) = one_node(1, Faults::none());
    let read = || simulation.on(node, || (runtime::wall_clock_ms(), runtime::Instant::now()));
    let before = read();
    simulation.shift_wall_clock(node, -3_600_000);
    let after = read();
    assert_eq!(after.0, before.0 - 3_600_000);
    assert_eq!(after.1, before.1);
}

#[test]
fn blocking_work_runs_after_a_delay_and_gives_its_value() {
    let (simulation, node) = one_node(1, Faults::none());
    let value = simulation.block_on(node, runtime::task::blocking(|| 7), LIMIT);
    assert_eq!(value, Ok(7));
    assert!(simulation.now().as_nanos() > 20_000);
}

#[test]
fn a_nodes_randomness_and_its_maps_repeat_with_the_seed() {
    let draw = |seed| {
        let (simulation, node) = one_node(seed, Faults::none());
        simulation.on(node, || {
            let mut map = runtime::collections::hash_map();
            for number in 0..100 {
                map.insert(number, runtime::rng::random_u64());
            }
            map.into_iter().collect::<Vec<_>>()
        })
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}

#[test]
fn run_cores_inside_a_node_is_refused_with_the_way_out() {
    let (simulation, node) = one_node(1, Faults::none());
    let options = runtime::core::CoreOptions {
        cores: 1,
        pin: false,
        io: runtime::probe::IoPath::Ring,
    };
    let error = simulation
        .on(node, || runtime::core::run_cores(&options, |_core| async {}))
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("start_cores"), "{error}");
}

#[test]
fn marks_and_faults_that_were_never_hit_are_named() {
    let (simulation, node) = one_node(1, Faults::none());
    simulation.on(node, || runtime::mark!("reached"));
    simulation.kill(node);
    let report = simulation.report();
    assert_eq!(report.marks.get("reached"), Some(&1));
    let missing = report.missing(
        &[runtime::sim::FaultKind::Kill, runtime::sim::FaultKind::Pause],
        &["reached", "never"],
    );
    assert_eq!(missing, ["fault Pause", "mark \"never\""]);
}
