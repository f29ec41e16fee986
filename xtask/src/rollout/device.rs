//! The life of one simulated device.

use super::{Board, Fleet, State, Wait, chance::Born};
use towline::{
    Decision, Reason, decide,
    schedule::{self, Times},
};
use towline_descriptor::{Descriptor, Version};

/// Lets the device with this index live until it runs the goal, or to the end.
/// `tell` hears of each state at the second when it begins, with the one
/// before.
pub(super) fn live(
    fleet: &Fleet,
    board: &Board<'_>,
    offers: &[(u64, Descriptor<'_>)],
    versions: &[Version],
    index: u32,
    mut tell: impl FnMut(u64, Option<State>, State),
) {
    let Born { mut chance, id, utc_offset, mut jitter, polls_at: mut poll, is_off, runs } =
        Born::new(fleet, index);
    let run = fleet.runs.get(runs).map_or(&versions[0], |run| &run.version);
    let index_of = |version: &Version| versions.iter().position(|v| v == version).unwrap_or(0);

    let groups = offers[0].1.policy.groups.as_slice();
    let mut running = board.running(run.clone(), &id, utc_offset, groups);
    let first = match (is_off, index_of(run)) {
        (_, 0) => None,
        (true, _) => Some(Wait::Off),
        (false, _) => Some(Wait::Unasked),
    };
    let mut state: State = (index_of(run), first);
    tell(0, None, state);
    if is_off || first.is_none() {
        return;
    }
    let period = core::time::Duration::from_secs(fleet.period.seconds());
    let mut agrees: Option<u64> = None;
    loop {
        let by_user = agrees.is_some_and(|agrees| agrees <= poll);
        let at = agrees.filter(|_| by_user).unwrap_or(poll);
        if at > fleet.span.seconds() {
            return;
        }
        if by_user {
            agrees = None;
        }
        running.now = Some(fleet.start + at);
        running.by_user = by_user;
        let phase = offers.partition_point(|(begins, _)| *begins <= at) - 1;
        let offer = &offers[phase].1;
        let decision = decide(&running, offer);
        if let (Decision::Stay(reason), false) = (&decision, by_user) {
            let (times, now) = (Times::of(&offer.policy), running.now);
            let random = jitter.draw();
            let wait = schedule::after_stay(*reason, &times, now, utc_offset, period, random);
            poll = at + wait.as_secs().max(1);
        }
        let next = match decision {
            Decision::Install(offer) => {
                let installed = index_of(&offer.version);
                // It restarts, and asks soon after.
                poll = at + schedule::first_poll(jitter.draw()).as_secs().max(1);
                running.version = Some(offer.version);
                (installed, (installed != 0).then_some(Wait::OnTheWay))
            }
            Decision::Stay(Reason::UpToDate) => (state.0, None),
            Decision::Stay(reason) => {
                if reason == Reason::NeedsApproval && agrees.is_none() {
                    agrees = Some(at + chance.wait(fleet.agree_after.seconds()));
                }
                (state.0, Some(Wait::Told(reason)))
            }
        };
        if next != state {
            tell(at, Some(state), next);
            state = next;
        }
        // What is offered only changes in whom it is for.
        if matches!(state.1, None | Some(Wait::Told(Reason::Downgrade))) {
            return;
        }
    }
}
