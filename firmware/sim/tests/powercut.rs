//! Power cuts at every flash operation of an update.

use towline_sim::powercut::{self, Scope};

fn survives(scope: Scope, least: usize) {
    let summary = powercut::run(scope, |_, _| {});
    let shown = summary.failures.iter().take(20).map(|f| format!("  {f}\n")).collect::<String>();
    assert!(summary.failures.is_empty(), "{} failures:\n{shown}", summary.failures.len());
    assert!(summary.cases >= least, "only {} cases", summary.cases);
    println!("{} cases, {} operations", summary.cases, summary.operations);
}

#[test]
fn a_cut_at_any_operation_leaves_a_device_that_boots_and_gets_up_to_date() {
    survives(Scope::OneCut, 60_000);
}

#[test]
fn two_cuts_leave_a_device_that_boots_and_gets_up_to_date() {
    survives(Scope::TwoCuts, 40_000);
}
