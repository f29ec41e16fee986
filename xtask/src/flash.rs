//! First flash of a board over USB.
//!
//! ```text
//! ports --choose--> port --connect--> board: chip, flash size, locks, partition table
//! store: records ------choose by what the board is-----> target, its parts
//!        parts --refuse what does not fit the board--> write --> read back --> restart
//! ```
//!
//! Nothing is written before everything was checked. Settings stay: parts are
//! written one by one, and a part that would touch a partition with settings
//! on the board is refused, unless the whole flash is to be erased.

pub mod board;
pub mod port;

use crate::{
    name::TargetName,
    release::{Record, Role, TargetRecord},
};
use esp_idf_part::{DataType, Partition, SubType};
use std::{fmt, ops::Range};
use towline_descriptor::{Chip, Version};

/// Size in bytes of an erase sector.
const SECTOR: u64 = 4096;

/// What is found out about a board before anything is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The chip.
    pub chip: Chip,
    /// Its revision, major and minor.
    pub revision: Option<(u32, u32)>,
    /// Its MAC address.
    pub mac: Option<String>,
    /// Size of its flash in bytes.
    pub flash_size: u32,
    /// What is burned that keeps plain images from running.
    pub locks: Locks,
}

/// Settings burned for good that make a board refuse plain images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    /// It runs signed bootloaders only.
    pub secure_boot: bool,
    /// It decrypts what it reads from flash.
    pub flash_encryption: bool,
}

/// A part that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlashPart {
    /// What it is.
    pub role: Role,
    /// Where it goes in flash, in bytes.
    pub offset: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl FlashPart {
    /// Returns the bytes of flash that are erased for it.
    fn sectors(&self) -> Range<u64> {
        let start = u64::from(self.offset);
        start - start % SECTOR..(start + self.bytes.len() as u64).next_multiple_of(SECTOR)
    }
}

/// Why a board was not flashed.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// No port looks like a board.
    #[error("no board is connected")]
    NoPort,
    /// Several ports look like boards.
    #[error("several boards are connected:{0}")]
    SeveralPorts(PortList),
    /// The port is not there.
    #[error("there is no port {0}")]
    PortNotFound(String),
    /// Another program has the port.
    #[error("{0} is in use by another program")]
    PortBusy(String),
    /// The user may not use the port.
    #[error("{port}: no permission")]
    PortDenied {
        /// The port.
        port: String,
        /// The group that may, if it is known.
        group: Option<String>,
    },
    /// The port could not be opened.
    #[error("opening {port}: {source}")]
    Port {
        /// The port.
        port: String,
        /// What went wrong.
        source: serialport::Error,
    },
    /// No chip answers.
    #[error("no chip answers on {port}")]
    NoAnswer {
        /// The port.
        port: String,
        /// Whether the port has lines that reset the chip.
        has_lines: bool,
        /// What espflash says.
        source: espflash::Error,
    },
    /// The chip allows next to nothing.
    #[error("the chip is in secure download mode: its flash can be neither read nor verified")]
    SecureDownload,
    /// The chip runs signed images only.
    #[error("the board {0}: plain images would leave it without firmware that starts")]
    Locked(&'static str),
    /// The chip is known to espflash but not here.
    #[error("the chip is an {0}, which is not known here")]
    UnknownChip(String),
    /// No release has parts for the chip.
    #[error("the board has an {chip}; no release has parts for it ({there})")]
    NoTarget {
        /// The chip.
        chip: Chip,
        /// What there is instead.
        there: String,
    },
    /// Several targets are for the chip.
    #[error("release {version} has several targets for an {chip}: {}", targets.join(", "))]
    SeveralTargets {
        /// The release.
        version: Version,
        /// The chip.
        chip: Chip,
        /// The targets.
        targets: Vec<String>,
    },
    /// The board has another chip than the target.
    #[error("target {target} is for an {expected}, the board has an {found}; nothing was written")]
    WrongChip {
        /// The target.
        target: TargetName,
        /// Its chip.
        expected: Chip,
        /// The chip of the board.
        found: Chip,
    },
    /// The board has less flash than the target.
    #[error(
        "target {target} is for {} of flash, the board has {}; nothing was written",
        mib(*expected), mib(*found)
    )]
    SmallFlash {
        /// The target.
        target: TargetName,
        /// Its flash size in bytes.
        expected: u32,
        /// That of the board.
        found: u32,
    },
    /// The chip is older than the image allows.
    #[error("the {role} needs chip revision {}, the board has {}; nothing was written", revision(*needed), revision(*found))]
    OldChip {
        /// Which image.
        role: &'static str,
        /// The lowest revision that it runs on, 100 times major plus minor.
        needed: u32,
        /// That of the board.
        found: u32,
    },
    /// A part would overwrite settings.
    #[error(
        "the {part} would overwrite settings in partition {partition} of the board; nothing was written"
    )]
    Settings {
        /// The part.
        part: &'static str,
        /// The partition on the board.
        partition: String,
    },
    /// Flash has other bytes than were written.
    #[error("the {part} at {offset:#x} is not in flash as it was written")]
    Verify {
        /// The part.
        part: &'static str,
        /// Where it should be, in bytes.
        offset: u32,
    },
    /// The board or the connection failed.
    #[error("{doing} on {port} failed")]
    Board {
        /// What was being done.
        doing: String,
        /// The port.
        port: String,
        /// What espflash says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Ports with their names, one a line.
#[derive(Debug)]
pub struct PortList(pub Vec<port::Candidate>);

impl fmt::Display for PortList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|port| write!(f, "\n  {}  {}", port.path, port.label()))
    }
}

const BY_HAND: &str = "hold BOOT, press and release RESET, release BOOT, then run it again";

impl FlashError {
    /// Returns what to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::NoPort => "connect it; some USB cables carry power only, try another one. A \
                             port without USB information can be named with --port"
                .into(),
            Self::SeveralPorts(_) => "say which one with --port".into(),
            Self::PortNotFound(_) => {
                "without --port, the boards that are connected are found or listed".into()
            }
            Self::PortBusy(port) => format!(
                "close the serial monitor or other program that has it; `fuser -v {port}` shows which"
            ),
            Self::PortDenied { group, .. } => {
                let group = group.as_deref().unwrap_or("dialout");
                format!("sudo usermod --append --groups {group} \"$USER\", then log out and in")
            }
            Self::Port { .. } => "unplug the board and connect it again".into(),
            Self::NoAnswer { has_lines: true, .. } => {
                format!("{BY_HAND}; if that does not help, try another USB cable")
            }
            Self::NoAnswer { has_lines: false, .. } => {
                format!("this port cannot reset the chip: {BY_HAND}")
            }
            Self::SecureDownload | Self::Locked(_) => {
                "sign or encrypt the images for it and write them with Espressif's own tools".into()
            }
            Self::UnknownChip(_) => "a newer Towline may know it".into(),
            Self::NoTarget { .. } => {
                "connect another board, or add a target with a partition table to towline.toml and \
                 release it"
                    .into()
            }
            Self::SeveralTargets { .. } => "say which one with --target".into(),
            Self::WrongChip { .. } => {
                "leave out --target, and the target is chosen by the chip".into()
            }
            Self::SmallFlash { .. } => {
                "set the target's flash-size and partition table to the board's, and release again"
                    .into()
            }
            Self::OldChip { .. } => "build the firmware for older revisions".into(),
            Self::Settings { .. } => {
                "the partition tables differ; --erase erases the whole flash first, with all \
                 settings"
                    .into()
            }
            Self::Verify { .. } => {
                "run it again, with --baud 115200; if it stays, the flash is worn or its supply weak"
                    .into()
            }
            Self::Board { .. } => {
                "check the cable and run it again: it starts from the beginning. A slower --baud \
                 115200 helps with long cables"
                    .into()
            }
        }
    }
}

/// Returns the release and target for a board: the newest release, or the one
/// that was asked for, and the only target that fits, or the one that was
/// asked for.
///
/// # Errors
/// If there is none, or more than one: what there is instead.
pub fn choose<'a>(
    releases: &'a [Record],
    found: &Found,
    version: Option<&Version>,
    target: Option<&TargetName>,
) -> Result<(&'a Record, &'a TargetName, &'a TargetRecord), FlashError> {
    let meant = releases
        .iter()
        .rev()
        .filter(|record| version.is_none_or(|wanted| wanted.precedence(&record.version).is_eq()));
    let asked = |name: &TargetName| target.is_none_or(|wanted| wanted == name);
    let mut others = Vec::new();
    for record in meant {
        let flashable =
            |(name, of): &(&TargetName, &TargetRecord)| asked(name) && !of.parts.is_empty();
        let (fitting, rest): (Vec<_>, Vec<_>) =
            record.targets.iter().filter(flashable).partition(|(_, of)| of.chip == found.chip);
        if let (Some(target), [(_, of), ..]) = (target, &rest[..]) {
            return Err(FlashError::WrongChip {
                target: target.clone(),
                expected: of.chip,
                found: found.chip,
            });
        }
        others.extend(rest.into_iter().map(|(name, _)| name.as_str()));
        let largest: Vec<_> =
            fitting.iter().filter(|(_, of)| of.flash_size <= found.flash_size).collect();
        match (&largest[..], &fitting[..]) {
            ([(name, of)], _) => return Ok((record, name, of)),
            ([], []) => {}
            ([], [(name, of), ..]) => {
                return Err(FlashError::SmallFlash {
                    target: (*name).clone(),
                    expected: of.flash_size,
                    found: found.flash_size,
                });
            }
            (several, _) => {
                return Err(FlashError::SeveralTargets {
                    version: record.version.clone(),
                    chip: found.chip,
                    targets: several.iter().map(|(name, _)| name.to_string()).collect(),
                });
            }
        }
    }
    others.sort_unstable();
    others.dedup();
    let there = match &others[..] {
        [] => "none has parts at all".into(),
        names => format!("there are {}", names.join(", ")),
    };
    Err(FlashError::NoTarget { chip: found.chip, there })
}

/// Refuses a board on which the parts would not run.
///
/// # Errors
/// The first reason.
pub fn admit(found: &Found, parts: &[FlashPart]) -> Result<(), FlashError> {
    if found.locks.secure_boot {
        return Err(FlashError::Locked("has secure boot"));
    }
    if found.locks.flash_encryption {
        return Err(FlashError::Locked("encrypts its flash"));
    }
    let Some((major, minor)) = found.revision else { return Ok(()) };
    let revision = major * 100 + minor;
    for part in parts.iter().filter(|part| matches!(part.role, Role::Bootloader | Role::App)) {
        // `min_chip_rev_full` of `esp_image_header_t`.
        let field = part.bytes.get(15..).and_then(<[u8]>::first_chunk);
        let needed = field.map_or(0, |field| u32::from(u16::from_le_bytes(*field)));
        if revision < needed {
            return Err(FlashError::OldChip { role: part.role.as_str(), needed, found: revision });
        }
    }
    Ok(())
}

/// Returns the partitions with settings that parts would touch: each with the
/// part, to be looked at whether they are blank.
pub fn touched<'a>(
    parts: &'a [FlashPart],
    on_board: &'a [Partition],
) -> Vec<(&'a FlashPart, &'a Partition)> {
    let settings = |partition: &&Partition| {
        matches!(partition.subtype(), SubType::Data(DataType::Nvs | DataType::NvsKeys))
    };
    let mut touched = Vec::new();
    for partition in on_board.iter().filter(settings) {
        let start = u64::from(partition.offset());
        let place = start..start + u64::from(partition.size());
        let touches = |part: &&FlashPart| {
            let sectors = part.sectors();
            sectors.start < place.end && place.start < sectors.end
        };
        touched.extend(parts.iter().find(touches).map(|part| (part, partition)));
    }
    touched
}

/// Puts parts into the order in which they are written: the app first, the
/// boot selection last. A board that is cut off in between keeps booting what
/// it had for as long as possible.
pub fn order(parts: &mut [FlashPart]) {
    parts.sort_by_key(|part| match part.role {
        Role::App => (0, part.offset),
        Role::Otadata => (2, part.offset),
        _ => (1, part.offset),
    });
}

fn mib(size: u32) -> String {
    if size < 1 << 20 { format!("{} KiB", size >> 10) } else { format!("{} MiB", size >> 20) }
}

fn revision(number: u32) -> String {
    format!("{}.{}", number / 100, number % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::parse_table;

    fn part(role: Role, offset: u32, len: usize) -> FlashPart {
        FlashPart { role, offset, bytes: vec![0; len] }
    }

    fn parts() -> Vec<FlashPart> {
        vec![
            part(Role::Bootloader, 0, 0x5000),
            part(Role::PartitionTable, 0x8000, 0xC00),
            part(Role::Otadata, 0xD000, 0x2000),
            part(Role::App, 0x10000, 0x8001),
        ]
    }

    fn touched_in(table: &str) -> Vec<(Role, String)> {
        let table = parse_table(table.as_bytes().to_vec()).unwrap();
        let parts = parts();
        let touched = touched(&parts, table.partitions());
        touched.into_iter().map(|(part, partition)| (part.role, partition.name())).collect()
    }

    #[test]
    fn settings_are_touched_by_the_sectors_of_a_part() {
        let app = "app, app, factory, 0x20000, 0x100000\n";
        assert!(touched_in(&format!("nvs, data, nvs, 0x9000, 0x4000\n{app}")).is_empty());
        assert_eq!(
            touched_in(&format!("nvs, data, nvs, 0x9000, 0x5000\n{app}")),
            [(Role::Otadata, "nvs".into())]
        );
        // The last byte of the app takes a sector.
        assert_eq!(
            touched_in(&format!("more, data, nvs, 0x18000, 0x4000\n{app}")),
            [(Role::App, "more".into())]
        );
        assert!(touched_in(&format!("more, data, nvs, 0x19000, 0x4000\n{app}")).is_empty());
        // What is no settings may be overwritten.
        assert!(touched_in(&format!("phy, data, phy, 0xd000, 0x1000\n{app}")).is_empty());
    }

    #[test]
    fn the_app_is_written_first_and_boot_selection_last() {
        let mut parts = parts();
        order(&mut parts);
        let roles: Vec<_> = parts.iter().map(|part| part.role).collect();
        assert_eq!(roles, [Role::App, Role::Bootloader, Role::PartitionTable, Role::Otadata]);
    }

    #[test]
    fn a_chip_that_is_too_old_for_an_image_is_refused() {
        let mut parts = parts();
        parts[3].bytes[15..17].copy_from_slice(&101_u16.to_le_bytes());
        let mut found = Found {
            chip: Chip::Esp32c3,
            revision: Some((0, 4)),
            mac: None,
            flash_size: 4 << 20,
            locks: Locks::default(),
        };
        let error = admit(&found, &parts).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the app needs chip revision 1.1, the board has 0.4; nothing was written"
        );
        found.revision = Some((1, 1));
        assert!(admit(&found, &parts).is_ok());
    }
}
