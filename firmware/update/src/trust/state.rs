//! What a device remembers of the channels that it trusts: two records in the
//! two sectors of the partition `towline`.
//!
//! | bytes       | what                                                      |
//! |-------------|-----------------------------------------------------------|
//! | 0 - 3       | `TWT1`                                                    |
//! | 4 - 7       | generation; odd ones stand in the second sector           |
//! | 8 - 9       | length of the payload of the root, at most 1024           |
//! | 10          | number of channels                                        |
//! | 11          | bit 0: a channel was followed; bit 1: a release failed    |
//! | 16 - 23     | the channel that was followed, as a [`NameHash`]          |
//! | 24 - 31     | the version that ran when the release had failed, as such |
//! | 32 - 63     | SHA-256 of the release that failed                        |
//! | 64 - 159    | 4 channels: [`NameHash`], key id, `seq`                   |
//! | 160 -       | payload of the root, padded to a multiple of 32 bytes     |
//! | the next 32 | SHA-256 of all that, programmed last                      |
//!
//! Numbers are little-endian, and what is not used is 0xFF. The record of the
//! higher generation decides, and the other one is rewritten: a cut leaves what
//! was there before, or what was to be written.
//!
//! The partition holds nothing secret. Who can write flash can write it too, as
//! he can the firmware. This is how it reads; with flash encryption it belongs
//! among the encrypted partitions, and is written in units that suit it.

use crate::{error::OtaError, layout::Region, otadata::SECTOR};
use embedded_storage::nor_flash::NorFlash;
use sha2::{Digest, Sha256 as Hasher};
use towline_descriptor::{KeyId, Sha256, root::MAX_ROOT};

/// Most channels whose `seq` is remembered. The one that offered nothing new for
/// the longest time makes room.
pub const MAX_CHANNELS: usize = 4;

const MAGIC: [u8; 4] = *b"TWT1";
/// All sizes are multiples of the largest unit that flash is programmed in.
const UNIT: usize = 32;
const FRONT: usize = 160;
const CHANNELS: usize = 64;
const CHANNEL: usize = 24;
const SUM: usize = 32;
const FOLLOWED: u8 = 1;
const FAILED: u8 = 2;

const _: () = assert!(CHANNELS + MAX_CHANNELS * CHANNEL == FRONT);
const _: () = assert!(FRONT + MAX_ROOT + SUM <= SECTOR as usize);
const _: () = assert!(FRONT.is_multiple_of(UNIT) && MAX_ROOT.is_multiple_of(UNIT) && SUM == UNIT);

/// A name, shortened: the first 8 bytes of its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameHash([u8; 8]);

/// The newest descriptor of a channel that was believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The channel.
    pub channel: NameHash,
    /// A key that signed it.
    pub key: KeyId,
    /// Its number.
    pub seq: u64,
}

/// A release that was rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// SHA-256 of its image.
    pub release: Sha256,
    /// The version that ran afterwards.
    pub running: NameHash,
}

/// What is remembered, beside the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    generation: u32,
    /// The channel that what runs came from.
    pub followed: Option<NameHash>,
    /// The release that was rolled back last, until another one is accepted.
    pub failed: Option<Failed>,
    /// Channels, the one that offered something new last at the end.
    pub(crate) channels: heapless::Vec<Newest, MAX_CHANNELS, u8>,
}

impl NameHash {
    pub(crate) const NONE: Self = Self([0; 8]);

    /// Shortens a name.
    pub fn of(name: &str) -> Self {
        let mut short = [0; 8];
        short.copy_from_slice(&Hasher::digest(name.as_bytes())[..8]);
        Self(short)
    }
}

impl State {
    /// Returns a state that remembers nothing.
    pub const fn new() -> Self {
        Self { generation: 0, followed: None, failed: None, channels: heapless::Vec::new() }
    }

    /// Remembers nothing any more, but where the next record belongs.
    pub(crate) fn forget(&mut self) {
        *self = Self { generation: self.generation, ..Self::new() };
    }

    /// Reads the record that decides, and its root into the front of `root`.
    /// Without a sound record nothing is remembered, and the root has no bytes.
    /// Returns the length of the root too.
    ///
    /// # Errors
    /// What reading flash returns.
    pub fn read<F: NorFlash>(
        flash: &mut F,
        region: Region,
        root: &mut [u8; MAX_ROOT],
    ) -> Result<(Self, usize), F::Error> {
        let mut found = Self::read_record(flash, region, 0, root)?;
        match (&found, Self::read_record(flash, region, 1, root)?) {
            (_, None) => found = Self::read_record(flash, region, 0, root)?,
            (Some((first, _)), Some((second, _))) if first.is_after(&second) => {
                found = Self::read_record(flash, region, 0, root)?;
            }
            (_, second) => found = second,
        }
        Ok(found.unwrap_or_default())
    }

    /// Returns whether this was written after the other.
    fn is_after(&self, other: &Self) -> bool {
        self.generation.wrapping_sub(other.generation) as i32 > 0
    }

    /// Returns the `seq` of the newest descriptor of a channel that was
    /// believed, and who signed it.
    pub fn newest(&self, channel: NameHash) -> Option<Newest> {
        self.channels.iter().find(|newest| newest.channel == channel).copied()
    }

    /// Remembers the newest descriptor of a channel. What is known already
    /// changes nothing, so that channels can be asked in turn without a write.
    pub(crate) fn note(&mut self, newest: Newest) {
        if self.channels.contains(&newest) {
            return;
        }
        self.channels.retain(|other| other.channel != newest.channel);
        if self.channels.is_full() {
            self.channels.remove(0);
        }
        // There is room for one.
        let _ = self.channels.push(newest);
    }

    /// Writes the state and the root over the record that does not decide.
    ///
    /// # Errors
    /// What flash returns, and [`OtaError::ReadBack`] if it does not hold what was
    /// written: the other record decides then.
    pub(crate) fn write<F: NorFlash>(
        &mut self,
        flash: &mut F,
        region: Region,
        root: &mut [u8; MAX_ROOT],
        len: usize,
    ) -> Result<(), OtaError<F::Error>> {
        const {
            assert!(UNIT.is_multiple_of(F::WRITE_SIZE) && UNIT.is_multiple_of(F::READ_SIZE));
            assert!((SECTOR as usize).is_multiple_of(F::ERASE_SIZE));
        }
        let next = Self { generation: self.generation.wrapping_add(1), ..self.clone() };
        let front = next.to_bytes(len);
        let padded = len.next_multiple_of(UNIT);
        root[len..padded].fill(0xFF);
        let sum = Hasher::new().chain_update(front).chain_update(&root[..padded]).finalize();
        let start = region.offset + next.sector() * SECTOR;
        let parts = [
            (start, &front[..]),
            (start + FRONT as u32, &root[..padded]),
            (start + (FRONT + padded) as u32, &sum[..]),
        ];
        flash.erase(start, start + SECTOR).map_err(OtaError::Flash)?;
        for (at, bytes) in parts {
            flash.write(at, bytes).map_err(OtaError::Flash)?;
        }
        for (at, bytes) in parts {
            for (at, bytes) in (at..).step_by(UNIT).zip(bytes.chunks(UNIT)) {
                let mut held = [0; UNIT];
                let held = &mut held[..bytes.len()];
                flash.read(at, held).map_err(OtaError::Flash)?;
                if held != bytes {
                    return Err(OtaError::ReadBack);
                }
            }
        }
        *self = next;
        Ok(())
    }

    fn read_record<F: NorFlash>(
        flash: &mut F,
        region: Region,
        sector: u32,
        root: &mut [u8; MAX_ROOT],
    ) -> Result<Option<(Self, usize)>, F::Error> {
        let start = region.offset + sector * SECTOR;
        let mut front = [0; FRONT];
        flash.read(start, &mut front)?;
        let Some((state, len)) = Self::parse(&front) else { return Ok(None) };
        if state.sector() != sector {
            return Ok(None);
        }
        let padded = len.next_multiple_of(UNIT);
        flash.read(start + FRONT as u32, &mut root[..padded])?;
        let mut sum = [0; SUM];
        flash.read(start + (FRONT + padded) as u32, &mut sum)?;
        let expected = Hasher::new().chain_update(front).chain_update(&root[..padded]).finalize();
        Ok((sum == expected[..]).then_some((state, len)))
    }

    fn to_bytes(&self, root_len: usize) -> [u8; FRONT] {
        let mut bytes = [0xFF; FRONT];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.generation.to_le_bytes());
        bytes[8..10].copy_from_slice(&(root_len as u16).to_le_bytes());
        bytes[10] = self.channels.len() as u8;
        bytes[11] = 0;
        if let Some(NameHash(followed)) = &self.followed {
            bytes[11] |= FOLLOWED;
            bytes[16..24].copy_from_slice(followed);
        }
        if let Some(Failed { release, running: NameHash(running) }) = &self.failed {
            bytes[11] |= FAILED;
            bytes[24..32].copy_from_slice(running);
            bytes[32..64].copy_from_slice(&release.0);
        }
        for (bytes, newest) in bytes[CHANNELS..].chunks_mut(CHANNEL).zip(&self.channels) {
            bytes[..8].copy_from_slice(&newest.channel.0);
            bytes[8..16].copy_from_slice(&newest.key.0);
            bytes[16..].copy_from_slice(&newest.seq.to_le_bytes());
        }
        bytes
    }

    /// Parses the front of a record. It is to be believed only with its sum.
    fn parse(bytes: &[u8; FRONT]) -> Option<(Self, usize)> {
        let short = |at: usize| -> Option<[u8; 8]> { bytes[at..at + 8].try_into().ok() };
        let root_len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let channels = usize::from(bytes[10]);
        if bytes[..4] != MAGIC || root_len > MAX_ROOT || channels > MAX_CHANNELS {
            return None;
        }
        let flag = |flag: u8| bytes[11] & flag != 0;
        let mut state = Self {
            generation: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            followed: if flag(FOLLOWED) { Some(NameHash(short(16)?)) } else { None },
            failed: None,
            channels: heapless::Vec::new(),
        };
        if flag(FAILED) {
            let release = Sha256(bytes[32..64].try_into().ok()?);
            state.failed = Some(Failed { release, running: NameHash(short(24)?) });
        }
        for at in (0..channels).map(|index| CHANNELS + index * CHANNEL) {
            let (channel, key) = (NameHash(short(at)?), KeyId(short(at + 8)?));
            state.note(Newest { channel, key, seq: u64::from_le_bytes(short(at + 16)?) });
        }
        Some((state, root_len))
    }

    /// Returns the sector that this generation belongs in: the other one than
    /// that of the generation before.
    fn sector(&self) -> u32 {
        self.generation % 2
    }
}

#[cfg(test)]
mod tests;
