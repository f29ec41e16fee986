//! The life of one simulated device.

use super::{Board, Fleet, State, Wait};
use towline::{
    Decision, Reason, Running, decide,
    schedule::{self, Jitter, Times, first_poll},
};
use towline_descriptor::{Descriptor, Version};

/// Minutes ahead of UTC, and how many of a hundred or so devices live there:
/// roughly as people with such devices do.
const ZONES: [(i16, u64); 13] = [
    (-480, 6),
    (-420, 2),
    (-360, 6),
    (-300, 12),
    (-180, 5),
    (0, 8),
    (60, 25),
    (120, 10),
    (180, 4),
    (330, 8),
    (480, 12),
    (540, 4),
    (600, 2),
];

/// What is left to chance in a device's life (splitmix64).
struct Chance(u64);

impl Chance {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(end)) >> 64) as u64
    }

    /// Draws a time whose mean is this: users agree at any moment as likely as
    /// at any other.
    fn wait(&mut self, mean: u64) -> u64 {
        let part = (self.below(1 << 53) as f64 + 1.0) / (1_u64 << 53) as f64;
        (-part.ln() * mean as f64) as u64
    }
}

fn zone(chance: &mut Chance) -> i16 {
    let all = ZONES.iter().map(|(_, weight)| weight).sum();
    let mut drawn = chance.below(all);
    for (offset, weight) in ZONES {
        match drawn.checked_sub(weight) {
            Some(rest) => drawn = rest,
            None => return offset,
        }
    }
    0
}

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
    // Far apart, so that neighbours have nothing in common.
    let mut chance = Chance(Chance(fleet.seed ^ (u64::from(index) << 32)).draw());
    let id = chance.draw().to_be_bytes();
    let utc_offset = zone(&mut chance);
    let mut jitter = Jitter::new(chance.draw() as u32);
    let mut poll = chance.below(fleet.period.seconds().max(1));
    let is_off = chance.below(10_000) < fleet.offline.hundredths().into();
    let mut drawn = chance.below(10_000) as u16;
    let run = fleet.runs.iter().find(|run| {
        let here = drawn < run.share.hundredths();
        drawn = drawn.saturating_sub(run.share.hundredths());
        here
    });
    let run = run.or(fleet.runs.last()).map_or(&versions[0], |run| &run.version);
    let index_of = |version: &Version| versions.iter().position(|v| v == version).unwrap_or(0);

    let target = &board.record.targets[board.target];
    let groups = offers[0].1.policy.groups.as_slice();
    let mut running = Running {
        project: board.project,
        version: Some(run.clone()),
        chip: target.chip,
        target: Some(board.target.as_str()),
        channel: Some(board.channel.as_str()),
        id: &id[..6],
        groups,
        now: None,
        utc_offset,
        by_user: false,
        switched: false,
        secure_version: 0,
        slot_size: target.slot_size.unwrap_or(u32::MAX),
    };
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
                poll = at + first_poll(jitter.draw()).as_secs().max(1);
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
