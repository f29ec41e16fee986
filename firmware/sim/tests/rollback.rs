//! Where a device may go back to, and where it may not.

use towline::{
    Expected, Guard, Ota, OtaError, Reset, Slot,
    otadata::{Label, Record, SECTOR, Stage, State},
};
use towline_descriptor::Chip;
use towline_sim::{
    Booted, Kind, Memory, boot,
    sample::{Table, app_image},
};

fn table(factory: bool) -> Table {
    Table { slots: 2, slot_size: 0x10000, factory }
}

fn image(version: &str) -> Vec<u8> {
    app_image(Chip::Esp32c3, "lamp", version, 6000)
}

fn device(factory: bool, images: &[(usize, &str)]) -> Memory {
    let table = table(factory);
    let mut flash = Memory::new(table.flash_size());
    flash.burn(0x8000, &table.to_bytes());
    for (slot, version) in images {
        flash.burn(table.offset(*slot), &image(version));
    }
    flash
}

fn record(flash: &mut Memory, sector: u32, record: Record) {
    flash.burn(Table::OTADATA + sector * SECTOR, &record.to_bytes());
}

fn start(flash: &mut Memory) -> (Booted, Guard) {
    let booted = boot(flash, Kind::Stock).unwrap();
    let guard = Ota::open(&mut *flash, booted.offset()).unwrap().guard(Reset::Other).unwrap();
    (booted, guard)
}

fn install(flash: &mut Memory, offset: u32, image: &[u8]) {
    let mut ota = Ota::open(flash, offset).unwrap();
    let mut writer = ota.begin(Expected::default()).unwrap();
    writer.write(image).unwrap();
    writer.finish().unwrap().activate().unwrap();
}

#[test]
fn a_factory_reset_never_boots_an_image_that_was_rejected() {
    let mut flash = device(false, &[(0, "1.1.0"), (1, "1.0.0")]);
    record(
        &mut flash,
        0,
        Record::new(3, State::Aborted).labelled(Label::new(Stage::Rejected, None)),
    );
    record(&mut flash, 1, Record::new(4, State::Valid));
    let (booted, _) = start(&mut flash);
    assert_eq!(booted.slot, Slot::Ota(1));
    let mut ota = Ota::open(&mut flash, booted.offset()).unwrap();
    assert_eq!(ota.factory_reset(), Err(OtaError::NothingToGoBackTo));
    assert_eq!(start(&mut flash).0.slot, Slot::Ota(1));
}

#[test]
fn without_a_factory_app_a_factory_reset_boots_ota_0_on_trial() {
    let mut flash = device(false, &[(0, "1.0.0"), (1, "1.1.0")]);
    record(&mut flash, 0, Record::new(2, State::Valid));
    let (booted, _) = start(&mut flash);
    Ota::open(&mut flash, booted.offset()).unwrap().factory_reset().unwrap();
    let (booted, guard) = start(&mut flash);
    assert_eq!((booted.slot, guard), (Slot::Ota(0), Guard::Trial));
    // It hangs, and the device goes back.
    assert_eq!(start(&mut flash).1, Guard::RolledBack { to: Slot::Ota(1) });
    assert_eq!(start(&mut flash).0.slot, Slot::Ota(1));
}

#[test]
fn a_factory_reset_to_what_is_on_trial_is_refused() {
    let mut flash = device(false, &[(1, "1.0.0")]);
    record(&mut flash, 0, Record::new(2, State::Valid));
    let (booted, _) = start(&mut flash);
    install(&mut flash, booted.offset(), &image("1.1.0"));
    let (booted, guard) = start(&mut flash);
    assert_eq!((booted.slot, guard), (Slot::Ota(0), Guard::Trial));
    let mut ota = Ota::open(&mut flash, booted.offset()).unwrap();
    assert_eq!(ota.factory_reset(), Err(OtaError::Unconfirmed));
}

#[test]
fn going_back_to_an_image_that_never_ran_is_a_trial() {
    let mut flash = device(false, &[(0, "1.0.0")]);
    record(&mut flash, 0, Record::new(1, State::Valid));
    let (booted, _) = start(&mut flash);
    let mut ota = Ota::open(&mut flash, booted.offset()).unwrap();
    let mut writer = ota.begin(Expected::default()).unwrap();
    writer.write(&image("1.1.0")).unwrap();
    // Verified, and then the power goes.
    drop(writer.finish().unwrap());
    assert_eq!(ota.rollback(), Ok(Slot::Ota(1)));
    let (booted, guard) = start(&mut flash);
    assert_eq!((booted.slot, guard), (Slot::Ota(1), Guard::Trial));
}

#[test]
fn what_the_factory_app_installed_and_did_not_boot_is_not_installed_again() {
    let mut flash = device(true, &[(2, "1.0.0")]);
    let (booted, _) = start(&mut flash);
    assert_eq!(booted.slot, Slot::Factory);
    install(&mut flash, booted.offset(), &image("1.1.0"));
    // The bootloader refuses it, for whatever reason.
    flash.bytes_mut()[0x10000 + 4000] ^= 1;
    let (booted, guard) = start(&mut flash);
    assert_eq!((booted.slot, guard), (Slot::Factory, Guard::DidNotBoot { slot: Slot::Ota(0) }));
    let mut ota = Ota::open(&mut flash, booted.offset()).unwrap();
    assert_eq!(ota.rolled_back().unwrap().unwrap().as_str(), "1.1.0");
    assert_eq!(start(&mut flash).1, Guard::Settled);
}

#[test]
fn an_update_that_does_not_boot_does_not_strand_a_device_on_its_factory_app() {
    let mut flash = device(true, &[(1, "1.1.0"), (2, "1.0.0")]);
    record(&mut flash, 0, Record::new(2, State::Valid));
    let (booted, _) = start(&mut flash);
    assert_eq!(booted.slot, Slot::Ota(1));
    install(&mut flash, booted.offset(), &image("1.2.0"));
    flash.bytes_mut()[0x10000 + 4000] ^= 1;
    let (booted, guard) = start(&mut flash);
    assert_eq!((booted.slot, guard), (Slot::Factory, Guard::RolledBack { to: Slot::Ota(1) }));
    let (booted, guard) = start(&mut flash);
    assert_eq!((booted.slot, guard), (Slot::Ota(1), Guard::Settled));
}

#[test]
fn another_image_of_a_version_that_was_rolled_back_may_be_installed() {
    let mut flash = device(false, &[(0, "1.0.0")]);
    record(&mut flash, 0, Record::new(1, State::Valid));
    let (booted, _) = start(&mut flash);
    install(&mut flash, booted.offset(), &image("1.1.0"));
    assert_eq!(start(&mut flash).1, Guard::Trial);
    assert_eq!(start(&mut flash).1, Guard::RolledBack { to: Slot::Ota(0) });
    let mut ota = Ota::open(&mut flash, booted.offset()).unwrap();
    assert!(ota.rolled_back().unwrap().is_some());
    let other = app_image(Chip::Esp32c3, "lamp", "1.1.0", 7000);
    install(&mut flash, booted.offset(), &other);
    assert_eq!(start(&mut flash).1, Guard::Trial);
}
