//! A device that is attacked, and what it is offered.

use embassy_futures::block_on;
use sha2::{Digest, Sha256 as Hasher};
use std::collections::BTreeMap;
use towline::{
    Buffers, Check, Clock, Connect, Guard, Identity, LastPoll, Limits, Ota, Outcome, Reason, Reset,
    Trust, UpdateError, Updater,
    descriptor::Chip,
    otadata::{Record, State},
    schedule::Jitter,
};
use towline_sim::{
    Counted, Kind, Memory, MemoryError, Origin, boot,
    sample::{Table, app_image},
    signing::{Signer, signed_descriptor},
};

pub(crate) const OLD: &str = "1.0.0";
pub(crate) const NEW: &str = "1.1.0";
pub(crate) const NEXT: &str = "1.2.0";
/// Host that publishes the firmware.
pub(crate) const HOST: &str = "updates.example";
/// Paths on that host.
pub(crate) const DESCRIPTOR: &str = "/ota/stable/desk.json";
pub(crate) const IMAGE: &str = "/app.bin";
/// What the journal of downloads loses at most.
pub(crate) const STEP: usize = 32 * 1024;

pub(crate) const TABLE: Table = Table { slots: 2, slot_size: 0x20000, factory: false };

/// Returns an image of the project that the device runs.
pub(crate) fn image(version: &str, len: usize) -> Vec<u8> {
    app_image(Chip::Esp32c3, "lamp", version, len)
}

/// The new image: longer than two steps of the journal.
pub(crate) fn new_image() -> Vec<u8> {
    image(NEW, 90_000)
}

/// A descriptor, field by field, each with its JSON text.
#[derive(Clone)]
pub(crate) struct Offer(BTreeMap<&'static str, String>);

impl Offer {
    /// Describes the image as the publisher does.
    pub(crate) fn of(version: &str, image: &[u8]) -> Self {
        let hash: String = Hasher::digest(image).iter().map(|b| format!("{b:02x}")).collect();
        let quoted = |text: &str| format!("\"{text}\"");
        Self(BTreeMap::from([
            ("version", quoted(version)),
            ("path", format!("\"https://{HOST}{IMAGE}\"")),
            ("fmt", "1".into()),
            ("project", quoted("lamp")),
            ("target", quoted("desk")),
            ("channel", quoted("stable")),
            ("chip", quoted("esp32c3")),
            ("chip_id", "5".into()),
            ("size", image.len().to_string()),
            ("sha256", quoted(&hash)),
            ("secure_version", "0".into()),
        ]))
    }

    /// Changes a field to this JSON text.
    pub(crate) fn with(mut self, field: &'static str, json: impl Into<String>) -> Self {
        self.0.insert(field, json.into());
        self
    }

    /// Leaves a field out.
    pub(crate) fn without(mut self, field: &str) -> Self {
        self.0.remove(field);
        self
    }

    pub(crate) fn json(&self) -> String {
        let fields: Vec<_> = self.0.iter().map(|(key, json)| format!("\"{key}\":{json}")).collect();
        format!("{{{}}}", fields.join(","))
    }

    /// Returns the document of this offer as these sign it.
    pub(crate) fn signed(&self, signers: &[&Signer]) -> Vec<u8> {
        let text = |field| self.0.get(field).map_or("", |json| json.trim_matches('"'));
        signed_descriptor(text("version"), text("path"), &self.json(), signers)
    }

    /// Returns a host that makes this offer.
    pub(crate) fn origin(&self, image: &[u8]) -> Origin {
        origin(self.json(), image)
    }
}

/// Returns a host with this descriptor and image.
pub(crate) fn origin(descriptor: impl Into<Vec<u8>>, image: &[u8]) -> Origin {
    let mut origin = Origin::default();
    origin.serve(DESCRIPTOR, descriptor.into());
    origin.serve(IMAGE, image.to_vec());
    origin
}

/// Returns a host that offers a sound image.
pub(crate) fn sound_origin(version: &str, len: usize) -> Origin {
    let image = image(version, len);
    Offer::of(version, &image).origin(&image)
}

/// A device that runs from `ota_0`, with a spare slot.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) flash: Memory,
    pub(crate) kind: Kind,
    pub(crate) limits: Limits,
    pub(crate) last: LastPoll,
    pub(crate) buffers: Buffers,
    pub(crate) identity: Identity<'static>,
    pub(crate) trust: Option<Trust<'static>>,
    pub(crate) by_user: bool,
    /// The time since 1970, if it is known.
    pub(crate) now: Option<u64>,
    /// Flash offset of what runs, and its bytes.
    running: u32,
    image: Vec<u8>,
}

impl Device {
    /// Makes a device that runs [`OLD`].
    pub(crate) fn new() -> Self {
        Self::running(OLD)
    }

    /// Makes a device that runs this version.
    pub(crate) fn running(version: &str) -> Self {
        Self::with(TABLE, &image(version, 9_000))
    }

    /// Makes a device that runs this image.
    pub(crate) fn with(table: Table, image: &[u8]) -> Self {
        let mut flash = Memory::new(table.flash_size());
        flash.burn(0x8000, &table.to_bytes());
        flash.burn(table.offset(0), image);
        flash.burn(Table::OTADATA, &Record::new(1, State::Valid).to_bytes());
        Self::of(flash, Kind::Stock)
    }

    /// Makes a device of flash from which something boots, and starts it.
    pub(crate) fn of(flash: Memory, kind: Kind) -> Self {
        let mut device = Self {
            flash,
            kind,
            limits: Limits::DEFAULT,
            last: LastPoll::default(),
            buffers: Buffers::new(),
            identity: Identity {
                target: Some("desk"),
                channel: Some("stable"),
                ..Identity::default()
            },
            trust: None,
            by_user: false,
            now: None,
            running: 0,
            image: Vec::new(),
        };
        let _ = device.reset(Reset::Power);
        device
    }

    /// Resets the device once: bootloader and guard. Returns the version that
    /// runs.
    pub(crate) fn reset(&mut self, reset: Reset) -> (String, Guard) {
        (self.last, self.buffers) = (LastPoll::default(), Buffers::new());
        let booted = boot(&mut self.flash, self.kind).expect("the device boots");
        self.running = booted.offset();
        let size = booted.layout.region(booted.slot).expect("a slot").size as usize;
        self.image = self.flash.bytes()[self.running as usize..][..size].to_vec();
        let guard = self.ota().guard(reset).expect("the flash works");
        (booted.head.app.version.to_string(), guard)
    }

    /// Resets the device until the guard lets it run.
    pub(crate) fn start(&mut self, mut reset: Reset) -> (String, Guard) {
        for _ in 0..4 {
            match self.reset(reset) {
                (_, Guard::RolledBack { .. }) => reset = Reset::Other,
                started => return started,
            }
        }
        panic!("the device is reset again and again");
    }

    /// Turns the power off and on.
    pub(crate) fn restart(&mut self) {
        let _ = self.start(Reset::Power);
    }

    /// Returns the slot that runs, as it was when it was booted.
    pub(crate) fn image(&self) -> &[u8] {
        &self.image
    }

    pub(crate) fn ota(&mut self) -> Ota<&mut Memory> {
        Ota::open(&mut self.flash, self.running).expect("what runs finds itself")
    }

    pub(crate) fn poll<N: Connect>(
        &mut self,
        net: &mut N,
    ) -> Result<Outcome, UpdateError<MemoryError, N::Error>> {
        let clock = Counted::at(self.now);
        self.poll_by(net, &clock)
    }

    /// Polls the channel by that clock.
    pub(crate) fn poll_by<N: Connect>(
        &mut self,
        net: &mut N,
        clock: &impl Clock,
    ) -> Result<Outcome, UpdateError<MemoryError, N::Error>> {
        self.with_updater(net, clock, |updater, url| block_on(updater.update(url, |_| {})))
    }

    /// Asks the channel what it offers, by that clock.
    pub(crate) fn checks<N: Connect>(
        &mut self,
        net: &mut N,
        clock: &impl Clock,
    ) -> Result<Check, UpdateError<MemoryError, N::Error>> {
        self.with_updater(net, clock, |updater, url| block_on(updater.check(url)))
    }

    /// Asks the channel what it offers. Returns metadata and notes.
    pub(crate) fn reads<N: Connect>(&mut self, net: &mut N) -> (Option<String>, Option<String>) {
        let clock = Counted::at(self.now);
        self.with_updater(net, &clock, |updater, url| {
            block_on(updater.check(url)).expect("a sound descriptor");
            (updater.metadata().map(str::to_owned), updater.notes().map(str::to_owned))
        })
    }

    fn with_updater<N: Connect, C: Clock, T>(
        &mut self,
        net: &mut N,
        clock: &C,
        job: impl FnOnce(&mut Updater<'_, &mut Memory, N, C>, &str) -> T,
    ) -> T {
        let mut ota = Ota::open(&mut self.flash, self.running).expect("what runs finds itself");
        let mut updater = Updater {
            ota: &mut ota,
            net,
            clock,
            device: self.identity,
            trust: self.trust,
            by_user: self.by_user,
            limits: self.limits,
            jitter: &mut Jitter::new(1),
            last: &mut self.last,
            buffers: &mut self.buffers,
        };
        job(&mut updater, &format!("https://{HOST}{DESCRIPTOR}"))
    }

    /// Polls a channel that the device must refuse, without harm to what runs.
    #[track_caller]
    pub(crate) fn refuses<N: Connect>(
        &mut self,
        net: &mut N,
    ) -> UpdateError<MemoryError, N::Error> {
        let clock = Counted::at(self.now);
        self.refuses_by(net, &clock)
    }

    /// As [`Self::refuses`], by that clock.
    #[track_caller]
    pub(crate) fn refuses_by<N: Connect>(
        &mut self,
        net: &mut N,
        clock: &impl Clock,
    ) -> UpdateError<MemoryError, N::Error> {
        let result = self.poll_by(net, clock);
        self.assert_unharmed();
        match result {
            Err(error) => error,
            Ok(outcome) => panic!("not refused: {outcome:?}"),
        }
    }

    /// As [`Self::refuses`], and not a byte of flash is changed.
    #[track_caller]
    pub(crate) fn refuses_at_once<N: Connect>(
        &mut self,
        net: &mut N,
    ) -> UpdateError<MemoryError, N::Error> {
        let before = self.flash.bytes().to_vec();
        let error = self.refuses(net);
        assert!(self.flash.bytes() == before, "flash was changed: {error:?}");
        error
    }

    /// Polls a channel that offers nothing to install; not a byte of flash is
    /// changed.
    #[track_caller]
    pub(crate) fn stays<N: Connect>(&mut self, net: &mut N) -> Reason {
        let before = self.flash.bytes().to_vec();
        let outcome = self.poll(net);
        assert!(self.flash.bytes() == before, "flash was changed: {outcome:?}");
        match outcome {
            Ok(Outcome::Stay(reason)) => reason,
            outcome => panic!("not staying: {outcome:?}"),
        }
    }

    /// Follows a channel to this version: installs, boots, accepts, and is up
    /// to date.
    #[track_caller]
    pub(crate) fn follows<N: Connect>(&mut self, net: &mut N, version: &str) {
        self.goes_to(net, version);
        assert_eq!(self.stays(net), Reason::UpToDate);
    }

    /// As [`Self::follows`], and then remembers that it came to this channel.
    #[track_caller]
    pub(crate) fn goes_down<N: Connect>(&mut self, net: &mut N, version: &str) {
        self.goes_to(net, version);
        assert!(matches!(self.poll(net), Ok(Outcome::Stay(Reason::UpToDate))));
        assert_eq!(self.stays(net), Reason::UpToDate);
    }

    #[track_caller]
    pub(crate) fn goes_to<N: Connect>(&mut self, net: &mut N, version: &str) {
        match self.poll(net) {
            Ok(Outcome::Installed { version: installed, .. }) => {
                assert_eq!(installed.as_str(), version);
            }
            outcome => panic!("{version} is not installed: {outcome:?}"),
        }
        assert_eq!(self.start(Reset::Other), (version.to_owned(), Guard::Trial));
        self.ota().accept().expect("the flash works");
        assert_eq!(self.start(Reset::Power), (version.to_owned(), Guard::Settled));
    }

    /// Asserts that what runs is whole, is what boots next with any
    /// bootloader, and needs no confirmation.
    #[track_caller]
    pub(crate) fn assert_unharmed(&self) {
        let running = &self.flash.bytes()[self.running as usize..][..self.image.len()];
        assert!(running == self.image, "the running slot was written");
        for kind in [Kind::Stock, Kind::Rollback] {
            let mut flash = self.flash.clone();
            flash.power_on(None);
            let booted = boot(&mut flash, kind).expect("the device boots");
            assert_eq!(booted.offset(), self.running, "{kind:?}");
            let mut ota = Ota::open(&mut flash, self.running).expect("what runs finds itself");
            let info = ota.info().expect("the flash works");
            assert_eq!((info.next_boot, info.on_trial), (info.running, false), "{kind:?}");
        }
    }
}
