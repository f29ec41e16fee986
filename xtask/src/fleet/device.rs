//! What happens to the devices of a fleet, one event after the other.

use super::{
    World,
    host::{Download, Failure, Host},
};
use crate::rollout::{Board, Born, Chance, State, Tally, Wait};
use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};
use towline::{
    Decision, Limits, Reason, UpdateError,
    decide::{Offer, decide, lightest},
    http::HttpError,
    pace::Late,
    schedule::{self, Jitter, Times},
};
use towline_descriptor::{Descriptor, Version};

/// How long firmware takes from a reset to its first request.
const START: u64 = 5_000;
/// Time between an update and the reset.
const RESET_PAUSE: u64 = 3_000;
/// Time that it has to prove itself, and between two tries to reach the channel.
const TRIAL: u64 = 90_000;
const TRIAL_PAUSE: u64 = 10_000;
/// How long a device that is switched off each day stays off.
const OFF: u64 = 8 * HOUR;
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

type Error = UpdateError<(), ()>;

/// Something that is to happen to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// It asks its channel.
    Poll,
    /// It goes on with its download.
    Resume,
    /// Its download takes too long.
    Deadline,
    /// Somebody switches it off, for so many milliseconds.
    Off(u64),
    /// New firmware on trial tries to reach the channel, until this time.
    Trial(u64),
}

/// An event, when it happens, and its number among all: so those of one moment
/// keep their order.
type Due = Reverse<(u64, u64, u32, u32, Event)>;

/// A device.
struct Device {
    chance: Chance,
    jitter: Jitter,
    id: [u8; 8],
    utc_offset: i16,
    /// Whether it is switched off all the time.
    is_off: bool,
    /// Milliseconds of the day at which it is switched off, if it is.
    off_at: Option<u64>,
    /// Events of another epoch are void.
    epoch: u32,
    version: usize,
    state: State,
    /// The version that it went back from.
    failed: Option<usize>,
    /// The phase whose descriptor it has nothing to do with: its ETag.
    seen: Option<usize>,
    /// Polls that failed in a row, and attempts that brought no byte.
    failures: u32,
    attempts: u32,
    /// The image that it downloads, and the bytes that are missing.
    wanted: usize,
    left: u32,
    /// Bytes of the image that do not have to be fetched.
    saved: u32,
    deadline: u64,
    /// What it downloads now.
    loads: Option<Loading>,
    /// Whether it runs what it wanted on trial.
    on_trial: bool,
    /// When its user agrees.
    agrees: Option<u64>,
}

/// A download under way.
#[derive(Clone, Copy)]
struct Loading {
    /// What the host needs to end it.
    began: f64,
    /// Bytes until its end, or until its line breaks.
    bytes: u32,
}

/// A fleet with its host.
pub(super) struct Simulation<'w> {
    world: &'w World,
    board: &'w Board<'w>,
    offers: &'w [(u64, Descriptor<'w>)],
    /// Bytes of the descriptor of each phase.
    sizes: &'w [u64],
    versions: &'w [Version],
    tally: Tally,
    host: Host<'w>,
    devices: Vec<Device>,
    events: BinaryHeap<Due>,
    count: u64,
    now: u64,
}

impl<'w> Simulation<'w> {
    pub(super) fn new(
        world: &'w World,
        board: &'w Board<'w>,
        offers: &'w [(u64, Descriptor<'w>)],
        sizes: &'w [u64],
        versions: &'w [Version],
        tally: Tally,
        host: Host<'w>,
    ) -> Self {
        let (devices, events) = (Vec::new(), BinaryHeap::new());
        let mut simulation = Self {
            world,
            board,
            offers,
            sizes,
            versions,
            tally,
            host,
            devices,
            events,
            count: 0,
            now: 0,
        };
        for index in 0..world.fleet.devices {
            simulation.add(index);
        }
        simulation
    }

    fn add(&mut self, index: u32) {
        let fleet = &self.world.fleet;
        let mut born = Born::new(fleet, index);
        let run = fleet.runs.get(born.runs).map(|run| &run.version);
        let version = self.versions.iter().position(|version| Some(version) == run).unwrap_or(0);
        let wait = if born.is_off { Wait::Off } else { Wait::Unasked };
        let state = (version, (version != 0).then_some(wait));
        let off_at = born.chance.is_in(self.world.daily_off).then(|| born.chance.below(DAY));
        self.devices.push(Device {
            chance: born.chance,
            jitter: born.jitter,
            id: born.id,
            utc_offset: born.utc_offset,
            is_off: born.is_off,
            off_at,
            epoch: 0,
            version,
            state,
            failed: None,
            seen: None,
            failures: 0,
            attempts: 0,
            wanted: version,
            left: 0,
            saved: 0,
            deadline: 0,
            loads: None,
            on_trial: false,
            agrees: None,
        });
        self.tally.count(0, None, state);
        if !born.is_off {
            // Not in the same millisecond of each second.
            let millis = self.devices[index as usize].chance.below(1000);
            self.at(born.polls_at * 1000 + millis, index, Event::Poll);
        }
    }

    pub(super) fn end(self) -> (Tally, super::Load) {
        (self.tally, self.host.load)
    }

    /// Lets all happen that happens. `tell` hears how many seconds have passed.
    pub(super) fn run(&mut self, mut tell: impl FnMut(u64)) {
        let end = self.world.fleet.span.seconds() * 1000;
        let world = self.world;
        let mut outages: Vec<_> = world.host_down.iter().map(|down| (down, false)).collect();
        outages.extend(world.power_cuts.iter().map(|cut| (cut, true)));
        outages.sort_by_key(|(outage, _)| Reverse(outage.at));
        let mut told = 0;
        loop {
            let devices = &self.devices;
            let ends = self.host.next_end(|download| {
                let device = &devices[download.device as usize];
                device.epoch == download.epoch && device.loads.is_some()
            });
            let event = self.events.peek().map(|Reverse((at, ..))| *at);
            let outage = outages.last().map(|(outage, _)| outage.at.seconds() * 1000);
            let ends_at = ends.map(|(at, _)| at);
            let Some(at) = [outage, ends_at, event].into_iter().flatten().min() else { break };
            if at > end {
                break;
            }
            self.host.advance(at);
            self.now = at;
            if at / 60_000 > told {
                told = at / 60_000;
                tell(at / 1000);
            }
            if outage == Some(at) {
                let (outage, is_power) = outages.pop().expect("it was looked at");
                self.outage(is_power.then_some(at + outage.lasts.seconds() * 1000));
            } else if ends_at == Some(at) {
                let device = ends.expect("it was looked at").1.device;
                self.ended(device);
            } else {
                let Reverse((_, _, index, epoch, event)) = self.events.pop().expect("as above");
                if self.devices[index as usize].epoch == epoch {
                    self.happens(index, event);
                }
            }
        }
        self.host.advance(end.max(self.now));
    }

    fn at(&mut self, at: u64, index: u32, event: Event) {
        self.count += 1;
        let epoch = self.devices[index as usize].epoch;
        self.events.push(Reverse((at, self.count, index, epoch, event)));
    }

    fn after(&mut self, wait: Duration, index: u32, event: Event) {
        self.at(self.now + wait.as_millis() as u64, index, event);
    }

    fn device(&mut self, index: u32) -> &mut Device {
        &mut self.devices[index as usize]
    }

    /// Tells that a device waits, unless it runs the goal.
    fn waits(&mut self, index: u32, wait: Option<Wait>) {
        let tick = self.host.tick();
        let device = &mut self.devices[index as usize];
        let state = (device.version, wait.filter(|_| device.version != 0));
        if state != device.state {
            self.tally.count(tick, Some(device.state), state);
            device.state = state;
        }
    }

    /// The host stops answering, or all power fails until a time.
    fn outage(&mut self, power_until: Option<u64>) {
        for index in 0..self.world.fleet.devices {
            let is_loading = self.device(index).loads.is_some();
            match power_until {
                Some(until) if !self.device(index).is_off => {
                    self.switch_off(index, until);
                }
                None if is_loading => {
                    let got = self.stop(index);
                    self.broken_off(index, HttpError::Transport(()), got > 0);
                }
                _ => {}
            }
        }
    }

    /// A device is without power until then, and starts anew.
    fn switch_off(&mut self, index: u32, until: u64) {
        if self.device(index).loads.is_some() {
            self.waits(index, Some(Wait::BrokenOff));
        }
        self.stop(index);
        let device = self.device(index);
        (device.failures, device.attempts, device.seen) = (0, 0, None);
        if device.on_trial {
            return self.at(until + START, index, Event::Trial(until + TRIAL));
        }
        let first = schedule::first_poll(device.jitter.draw()).as_millis() as u64;
        self.at(until + START + first, index, Event::Poll);
    }

    fn happens(&mut self, index: u32, event: Event) {
        if let Some(until) = self.off_until(index) {
            return self.switch_off(index, until);
        }
        match event {
            Event::Poll => self.poll(index),
            Event::Resume => self.attempt(index),
            Event::Deadline => {
                self.stop(index);
                self.gives_up(index, HttpError::Late(Late::Deadline));
            }
            Event::Off(lasts) => self.switch_off(index, self.now + lasts),
            Event::Trial(until) => self.trial(index, until),
        }
    }

    /// Returns when a device that is switched off each day is on again, if it is
    /// off now.
    fn off_until(&mut self, index: u32) -> Option<u64> {
        let off_at = self.devices[index as usize].off_at?;
        let passed = (self.now + DAY - off_at) % DAY;
        (passed < OFF).then(|| self.now + OFF - passed)
    }

    fn poll(&mut self, index: u32) {
        let phase = self.phase();
        let is_known = self.device(index).seen == Some(phase);
        let body = if is_known { 0 } else { self.sizes[phase] };
        if let Err(failure) = self.host.request(body) {
            self.waits(index, Some(Wait::NoAnswer));
            return self.failed(index, &UpdateError::DescriptorFetch(failure));
        }
        self.judge(index);
    }

    /// A device decides about the descriptor that it got.
    fn judge(&mut self, index: u32) {
        let (at, phase, offers) = (self.now / 1000, self.phase(), self.offers);
        let offered = &offers[phase].1;
        let (world, board) = (self.world, self.board);
        let groups = offered.policy.groups.as_slice();
        let device = &mut self.devices[index as usize];
        let by_user = device.agrees.is_some_and(|agrees| agrees <= self.now);
        let version = self.versions[device.version].clone();
        let mut running = board.running(version, &device.id, device.utc_offset, groups);
        running.now = Some(world.fleet.start + at);
        running.by_user = by_user;
        let reason = match decide(&running, offered) {
            Decision::Install(offer) => {
                let wanted = self.versions.iter().position(|version| *version == offer.version);
                let wanted = wanted.unwrap_or(0);
                if device.failed != Some(wanted) {
                    let size = self.wire_size(index, offered, &offer);
                    self.device(index).saved = offer.size - size;
                    return self.install(index, wanted, size);
                }
                Reason::RolledBack
            }
            Decision::Stay(reason) => reason,
        };
        let (utc_offset, period) = (device.utc_offset, self.period());
        let device = self.device(index);
        device.failures = 0;
        device.seen = reason.lasts_until_reset().then_some(phase);
        let (times, random) = (Times::of(&offered.policy), device.jitter.draw());
        let now = Some(world.fleet.start + at);
        let mut wait = schedule::after_stay(reason, &times, now, utc_offset, period, random);
        if reason == Reason::NeedsApproval {
            let agree_after = world.fleet.agree_after.seconds();
            let (now, device) = (self.now, self.device(index));
            let agrees = match device.agrees {
                Some(agrees) => agrees,
                None => now + device.chance.wait(agree_after) * 1000,
            };
            device.agrees = Some(agrees);
            wait = wait.min(Duration::from_millis(agrees.saturating_sub(now)));
        }
        self.after(wait, index, Event::Poll);
        self.waits(index, (reason != Reason::UpToDate).then_some(Wait::Told(reason)));
    }

    /// Returns how many bytes a device fetches of an image.
    fn wire_size(&mut self, index: u32, offered: &Descriptor<'_>, offer: &Offer) -> u32 {
        let world = self.world;
        let runs = &self.versions[self.devices[index as usize].version];
        let image = || {
            let image = world.images.iter().find(|(version, _)| version == runs);
            image.map(|(_, sha256)| *sha256)
        };
        match lightest(offered, offer, world.patch_memory, image) {
            Some((_, patch)) => patch.size,
            None => offer.size,
        }
    }

    /// A device begins to download a release, or goes on with it.
    fn install(&mut self, index: u32, wanted: usize, size: u32) {
        let deadline = self.now + Limits::DEFAULT.deadline.as_millis() as u64;
        let device = self.device(index);
        if device.wanted != wanted || device.left == 0 {
            (device.wanted, device.left) = (wanted, size);
        }
        (device.attempts, device.deadline) = (0, deadline);
        self.attempt(index);
    }

    /// Asks for what is missing of an image.
    fn attempt(&mut self, index: u32) {
        if let Err(failure) = self.host.request(0) {
            return self.broken_off(index, failure, false);
        }
        self.waits(index, Some(Wait::Loading));
        let broken = self.world.broken;
        let (now, device) = (self.now, &mut self.devices[index as usize]);
        let download = Download { device: index, epoch: device.epoch };
        let breaks = device.chance.is_in(broken);
        let bytes =
            if breaks { device.chance.below(device.left.into()) as u32 } else { device.left };
        device.loads = Some(Loading { began: self.host.start(download, bytes), bytes });
        let (deadline, off_at) = (device.deadline, device.off_at);
        self.at(deadline, index, Event::Deadline);
        if let Some(off_at) = off_at {
            let left = (off_at + DAY - now % DAY) % DAY;
            if now + left < deadline {
                self.at(now + left, index, Event::Off(OFF));
            }
        }
    }

    /// Ends a download, if there is one, and voids all that was to happen to the
    /// device. Returns how many bytes came.
    fn stop(&mut self, index: u32) -> u32 {
        let device = &mut self.devices[index as usize];
        device.epoch += 1;
        let Some(loading) = device.loads.take() else { return 0 };
        let got = self.host.stop(loading.began).min(loading.bytes);
        device.left -= got.min(device.left);
        got
    }

    /// A download came to its end, or to where its line breaks.
    fn ended(&mut self, index: u32) {
        let device = self.device(index);
        let bytes = device.loads.map_or(0, |loading| loading.bytes);
        // The host counts in fractions of a byte.
        let left = device.left - bytes;
        self.stop(index);
        let (bad, now) = (self.world.bad, self.now);
        let device = &mut self.devices[index as usize];
        device.left = left;
        if device.left > 0 {
            return self.broken_off(index, HttpError::Truncated, bytes > 0);
        }
        self.host.load.downloads += 1;
        self.host.load.saved += u64::from(device.saved);
        let starts = now + RESET_PAUSE + START;
        if device.chance.is_in(bad) {
            self.host.load.failed_self_test += 1;
            return self.goes_back(index, starts);
        }
        device.on_trial = true;
        self.at(starts, index, Event::Trial(now + RESET_PAUSE + TRIAL));
    }

    /// New firmware asks its channel, and is accepted if it is answered.
    fn trial(&mut self, index: u32, until: u64) {
        let (now, phase) = (self.now, self.phase());
        let asked = self.host.request(self.sizes[phase]).map_err(Error::DescriptorFetch);
        if asked.as_ref().is_err_and(|error| !error.is_from_channel()) {
            if now + TRIAL_PAUSE < until {
                return self.at(now + TRIAL_PAUSE, index, Event::Trial(until));
            }
            self.host.load.failed_trial += 1;
            return self.goes_back(index, now);
        }
        let device = self.device(index);
        (device.version, device.failed, device.on_trial) = (device.wanted, None, false);
        self.waits(index, Some(Wait::OnTheWay));
        match asked {
            Ok(()) => self.judge(index),
            Err(_) => self.at(now, index, Event::Poll),
        }
    }

    /// A release failed on a device, which starts what ran before.
    fn goes_back(&mut self, index: u32, at: u64) {
        let device = self.device(index);
        (device.failed, device.on_trial) = (Some(device.wanted), false);
        let first = schedule::first_poll(device.jitter.draw()).as_millis() as u64;
        self.at(at + START + first, index, Event::Poll);
        self.waits(index, Some(Wait::Told(Reason::RolledBack)));
    }

    /// A download broke off, or did not begin.
    fn broken_off(&mut self, index: u32, failure: Failure, got_some: bool) {
        self.host.load.broken_off += u64::from(got_some);
        self.waits(index, Some(if got_some { Wait::BrokenOff } else { Wait::NoAnswer }));
        let now = self.now;
        let device = self.device(index);
        device.attempts = if got_some { 1 } else { device.attempts + 1 };
        if !failure.is_passing() || device.attempts >= Limits::DEFAULT.attempts {
            return self.gives_up(index, failure);
        }
        let pause = schedule::backoff(device.attempts, device.jitter.draw());
        if now + pause.as_millis() as u64 >= device.deadline {
            return self.gives_up(index, failure);
        }
        self.after(pause, index, Event::Resume);
    }

    fn gives_up(&mut self, index: u32, failure: Failure) {
        self.waits(index, Some(Wait::BrokenOff));
        self.failed(index, &UpdateError::ImageFetch(failure));
    }

    /// A poll failed.
    fn failed(&mut self, index: u32, error: &Error) {
        let period = self.period();
        let device = self.device(index);
        device.failures += 1;
        let random = device.jitter.draw();
        let wait = schedule::after_failure(error, device.failures, period, random);
        self.after(wait, index, Event::Poll);
    }

    fn period(&self) -> Duration {
        Duration::from_secs(self.world.fleet.period.seconds())
    }

    /// Returns the phase that it is now.
    fn phase(&self) -> usize {
        let at = self.now / 1000;
        self.offers.partition_point(|(begins, _)| *begins <= at) - 1
    }
}
