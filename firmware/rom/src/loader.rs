//! The commands of the loader: the ROM's, and the stub's once it runs.
//!
//! ```text
//! request  00 op len:u16 checksum:u32 data
//! reply    01 op len:u16 value:u32    data status error [00 00 from the ROM]
//! ```

mod wire;

use self::wire::*;
use crate::{
    board::{Options, is_close},
    faults::Counts,
    flash::{Flash, SECTOR},
    silicon::{MAGIC, Silicon},
    slip,
};
use flate2::{Decompress, FlushDecompress, Status};
use md5::{Digest, Md5};
use std::{collections::BTreeMap, ops::Range};
use towline_descriptor::Chip;

/// Largest blocks that are taken, in bytes.
const RAM_BLOCK: u32 = 0x1800;
const ROM_FLASH_BLOCK: u32 = 0x400;
const STUB_FLASH_BLOCK: u32 = 0x4000;

/// Bytes of a `READ_FLASH_SLOW` reply, however many were asked for.
const SLOW_BLOCK: u32 = 64;

/// Bit of the SPI command register that starts a user-defined transaction.
const SPI_USR: u32 = 1 << 18;
/// JEDEC "read identification".
const RDID: u8 = 0x9F;
/// Baud rate before a host has set one.
const FIRST_BAUD: u32 = 115_200;

/// What a command makes of the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It waits for the next command.
    Stay,
    /// It starts the firmware.
    Run,
    /// It resets.
    Reset,
}

/// What a command returns.
enum Answer {
    Value(u32),
    Data(Vec<u8>),
    /// There is no such command.
    Unknown,
}

type Reply = Result<(Answer, Then), Failure>;

const DONE: Reply = Ok((Answer::Value(0), Then::Stay));

/// A download to flash that has begun.
struct Writing {
    at: u32,
    /// Bytes that are still to come, uncompressed.
    left: u32,
    /// Flash from here on is not erased yet.
    erased_to: u32,
    block_size: u32,
    inflate: Option<Decompress>,
}

/// A download to RAM that has begun.
struct Loading {
    at: u32,
    left: u32,
    block_size: u32,
}

/// Flash that is being sent to the host.
struct Reading {
    range: Range<u32>,
    sent: u32,
    acknowledged: u32,
    block_size: u32,
    in_flight: u32,
}

/// The loader as it runs after a reset.
pub(crate) struct Loader {
    stub: bool,
    baud: Option<u32>,
    frames: slip::Decoder,
    registers: BTreeMap<u32, u32>,
    attached: bool,
    loaded: Vec<Range<u32>>,
    loading: Option<Loading>,
    writing: Option<Writing>,
    reading: Option<Reading>,
}

/// What the loader acts on.
pub(crate) struct Parts<'a> {
    pub(crate) silicon: &'a Silicon,
    pub(crate) options: &'a Options,
    pub(crate) flash: &'a mut Flash,
    pub(crate) counts: &'a mut Counts,
    pub(crate) out: &'a mut Vec<u8>,
}

impl Parts<'_> {
    fn send(&mut self, frame: &[u8]) {
        let mut frame = frame.to_vec();
        self.counts.damage_reply(&self.options.faults, &mut frame);
        slip::encode(&frame, self.out);
    }
}

impl Loader {
    pub(crate) fn new() -> Self {
        Self {
            stub: false,
            baud: None,
            frames: slip::Decoder::default(),
            registers: BTreeMap::new(),
            attached: false,
            loaded: Vec::new(),
            loading: None,
            writing: None,
            reading: None,
        }
    }

    /// Returns whether the stub runs.
    pub(crate) fn is_stub(&self) -> bool {
        self.stub
    }

    /// Returns whether the chip understands a host at this baud rate. The ROM
    /// measures the rate at the first SYNC.
    pub(crate) fn hears(&self, host: u32) -> bool {
        self.baud.is_none_or(|baud| is_close(baud, host))
    }

    /// Takes a byte from the host.
    pub(crate) fn receive(&mut self, byte: u8, host_baud: Option<u32>, parts: Parts<'_>) -> Then {
        let Some(frame) = self.frames.push(byte) else { return Then::Stay };
        if parts.counts.loses_frame(&parts.options.faults) {
            return Then::Stay;
        }
        if self.reading.is_some() {
            self.acknowledge(&frame, parts);
            return Then::Stay;
        }
        self.request(&frame, host_baud, parts)
    }

    fn request(&mut self, frame: &[u8], host_baud: Option<u32>, mut parts: Parts<'_>) -> Then {
        let Some((head, data)) = frame.split_at_checked(8) else { return Then::Stay };
        let (direction, op) = (head[0], head[1]);
        if direction != 0 || (self.baud.is_none() && op != SYNC) {
            return Then::Stay;
        }
        let reply = if usize::from(u16::from_le_bytes([head[2], head[3]])) == data.len() {
            self.command(op, head[4], data, host_baud, &mut parts)
        } else {
            Err(Failure::Length)
        };
        let (answer, then, failure) = match reply {
            Ok((answer, then)) => (answer, then, None),
            Err(failure) => (Answer::Value(0), Then::Stay, Some(failure)),
        };
        let (value, data) = match answer {
            Answer::Value(value) => (value, Vec::new()),
            Answer::Data(data) => (0, data),
            Answer::Unknown => {
                self.unknown(op, &mut parts);
                return Then::Stay;
            }
        };
        let code = failure.map_or(0, |failure| failure.code(self.stub));
        let reply = self.reply(op, value, &data, code);
        parts.send(&reply);
        match op {
            // The host measures the delay of the first by the others.
            SYNC => (0..7).for_each(|_| parts.send(&reply)),
            MEM_END if failure.is_none() && !self.stub => {
                self.start_stub(data_word(frame, 12), &mut parts);
            }
            READ_FLASH if failure.is_none() => self.send(parts),
            _ => {}
        }
        then
    }

    fn reply(&self, op: u8, value: u32, data: &[u8], code: u8) -> Vec<u8> {
        let status: &[u8] = match (code, self.stub) {
            (0, true) => &[0, 0],
            (0, false) => &[0, 0, 0, 0],
            (code, true) => &[1, code],
            (code, false) => &[1, code, 0, 0],
        };
        let len = u16::try_from(data.len() + status.len()).unwrap_or(u16::MAX);
        [&[1, op], &len.to_le_bytes()[..], &value.to_le_bytes(), data, status].concat()
    }

    /// Answers a command that there is not: the ROM does so eight times, and
    /// with another number.
    fn unknown(&self, op: u8, parts: &mut Parts<'_>) {
        if self.stub {
            parts.send(&self.reply(op, 0, &[], 0xFF));
        } else {
            let reply = self.reply(0, 0, &[], Failure::Length.code(false));
            (0..8).for_each(|_| parts.send(&reply));
        }
    }

    fn command(
        &mut self,
        op: u8,
        checksum: u8,
        data: &[u8],
        host_baud: Option<u32>,
        parts: &mut Parts<'_>,
    ) -> Reply {
        let is_secure = parts.options.secure_download && parts.silicon.chip != Chip::Esp32;
        if is_secure && !SECURE.contains(&op) {
            return Ok((Answer::Unknown, Then::Stay));
        }
        let stub_only = matches!(op, ERASE_FLASH | ERASE_REGION | READ_FLASH | RUN_USER_CODE);
        if stub_only && !self.stub {
            return Ok((Answer::Unknown, Then::Stay));
        }
        match op {
            SYNC => {
                if data.len() != 36 {
                    return Err(Failure::Length);
                }
                self.baud.get_or_insert(host_baud.unwrap_or(FIRST_BAUD));
                // A value other than 0 tells the ROM from the stub.
                Ok((Answer::Value(if self.stub { 0 } else { 0x2012_0707 }), Then::Stay))
            }
            READ_REG => {
                let [address] = words(data)?;
                Ok((Answer::Value(self.register(address, parts)), Then::Stay))
            }
            WRITE_REG => self.write_registers(data, parts),
            GET_SECURITY_INFO if parts.silicon.chip != Chip::Esp32 => {
                Ok((Answer::Data(security_info(parts.options)), Then::Stay))
            }
            SPI_ATTACH => {
                self.attached = true;
                DONE
            }
            SPI_SET_PARAMS => {
                let [_, _size, _block, _sector, _page, _mask] = words(data)?;
                DONE
            }
            CHANGE_BAUDRATE => {
                let [baud, _before] = words(data)?;
                // The reply still goes out at the old rate: the host changes
                // after it.
                self.baud = Some(baud);
                DONE
            }
            MEM_BEGIN => {
                let [size, _blocks, block_size, at] = words(data)?;
                if block_size > RAM_BLOCK {
                    return Err(Failure::BlockSize);
                }
                self.loading = Some(Loading { at, left: size, block_size });
                DONE
            }
            MEM_DATA => self.load(block(data, checksum)?),
            MEM_END => {
                let [_no_entry, _entry] = words(data)?;
                self.loading = None;
                DONE
            }
            FLASH_BEGIN | FLASH_DEFL_BEGIN => self.begin(data, op == FLASH_DEFL_BEGIN, parts),
            FLASH_DATA => self.write(block(data, checksum)?, parts),
            FLASH_DEFL_DATA => self.write_deflated(block(data, checksum)?, parts),
            FLASH_END | FLASH_DEFL_END => self.end(data),
            SPI_FLASH_MD5 => {
                let [offset, len, _, _] = words(data)?;
                let digest = Md5::digest(parts.flash.read(offset, len)?);
                let text = || digest.iter().flat_map(|byte| format!("{byte:02x}").into_bytes());
                let answer = if self.stub { digest.to_vec() } else { text().collect() };
                Ok((Answer::Data(answer), Then::Stay))
            }
            READ_FLASH_SLOW if !self.stub => {
                let [offset, len] = words(data)?;
                if len > SLOW_BLOCK {
                    return Err(Failure::Length);
                }
                let mut block = parts.flash.read(offset, len)?.to_vec();
                block.resize(SLOW_BLOCK as usize, 0);
                Ok((Answer::Data(block), Then::Stay))
            }
            ERASE_FLASH => {
                let size = parts.options.flash_size;
                erase(parts, 0, size)?;
                DONE
            }
            ERASE_REGION => {
                let [offset, len] = words(data)?;
                if !offset.is_multiple_of(SECTOR) || !len.is_multiple_of(SECTOR) {
                    return Err(Failure::BlockSize);
                }
                erase(parts, offset, len)?;
                DONE
            }
            READ_FLASH => {
                let [offset, len, block_size, in_flight] = words(data)?;
                parts.flash.read(offset, len)?;
                if block_size == 0 || block_size > STUB_FLASH_BLOCK || in_flight == 0 {
                    return Err(Failure::BlockSize);
                }
                let range = offset..offset + len;
                self.reading =
                    Some(Reading { range, sent: 0, acknowledged: 0, block_size, in_flight });
                DONE
            }
            RUN_USER_CODE => Ok((Answer::Value(0), Then::Run)),
            _ => Ok((Answer::Unknown, Then::Stay)),
        }
    }

    fn register(&self, address: u32, parts: &Parts<'_>) -> u32 {
        let baud = self.baud.unwrap_or(FIRST_BAUD);
        let fused = || {
            let word = parts.silicon.word(address, parts.options, baud);
            word | esp32_locks(address, parts.options)
        };
        self.registers.get(&address).copied().unwrap_or_else(fused)
    }

    fn write_registers(&mut self, data: &[u8], parts: &Parts<'_>) -> Reply {
        if data.is_empty() || !data.len().is_multiple_of(16) {
            return Err(Failure::Length);
        }
        for write in data.chunks_exact(16) {
            let [address, value, mask, _delay] = words(write)?;
            if address == MAGIC {
                continue;
            }
            let value = self.register(address, parts) & !mask | value & mask;
            self.registers.insert(address, value);
            if address == parts.silicon.spi.cmd && value & SPI_USR != 0 {
                self.spi_transaction(parts);
            }
        }
        DONE
    }

    /// Runs the transaction that the registers of the SPI controller describe.
    fn spi_transaction(&mut self, parts: &Parts<'_>) {
        let spi = parts.silicon.spi;
        let command = self.register(spi.usr2, parts) as u8;
        let answer = match command {
            // Nobody drives the line of a flash that is not attached.
            _ if !self.attached && !self.stub => u32::MAX,
            RDID => {
                let capacity = parts.options.flash_size.trailing_zeros();
                u32::from_le_bytes([0xEF, 0x40, capacity as u8, 0])
            }
            // Status registers, and what this flash does not know.
            _ => 0,
        };
        self.registers.insert(spi.w0, answer);
        self.registers.insert(spi.cmd, 0);
    }

    fn load(&mut self, block: &[u8]) -> Reply {
        let loading = self.loading.as_mut().ok_or(Failure::NotInFlashMode)?;
        let len = block.len() as u32;
        // Hosts pad the last block.
        if len > loading.block_size || len > loading.left.next_multiple_of(4) + 4 {
            return Err(Failure::BlockSize);
        }
        self.loaded.push(loading.at..loading.at.saturating_add(len));
        loading.at = loading.at.saturating_add(len);
        loading.left = loading.left.saturating_sub(len);
        DONE
    }

    /// Starts what was uploaded, if there is something at its entry.
    fn start_stub(&mut self, entry: u32, parts: &mut Parts<'_>) {
        if self.loaded.iter().any(|range| range.contains(&entry)) {
            self.stub = true;
            self.writing = None;
            parts.send(b"OHAI");
        }
    }

    fn begin(&mut self, data: &[u8], deflated: bool, parts: &mut Parts<'_>) -> Reply {
        let [size, _blocks, block_size, at] = match data.len() {
            16 if self.stub || parts.silicon.chip == Chip::Esp32 => words(data)?,
            20 if self.stub || parts.silicon.chip != Chip::Esp32 => words(&data[..16])?,
            _ => return Err(Failure::Length),
        };
        let largest = if self.stub { STUB_FLASH_BLOCK } else { ROM_FLASH_BLOCK };
        if block_size > largest {
            return Err(Failure::BlockSize);
        }
        parts.flash.read(at, size)?;
        // The ROM erases everything at once, the stub as it goes.
        let erased_to = if self.stub {
            at
        } else {
            erase(parts, at, size)?;
            at + size
        };
        let inflate = deflated.then(|| Decompress::new(true));
        self.writing = Some(Writing { at, left: size, erased_to, block_size, inflate });
        DONE
    }

    fn write(&mut self, block: &[u8], parts: &mut Parts<'_>) -> Reply {
        let writing = self.writing.as_ref().ok_or(Failure::NotInFlashMode)?;
        if writing.inflate.is_some() {
            return Err(Failure::NotInFlashMode);
        }
        if block.len() > writing.block_size as usize {
            return Err(Failure::BlockSize);
        }
        if writing.left == 0 {
            return Err(Failure::TooMuch);
        }
        // Hosts pad the last block.
        let len = block.len().min(writing.left as usize);
        self.program(&block[..len], parts)
    }

    fn write_deflated(&mut self, block: &[u8], parts: &mut Parts<'_>) -> Reply {
        let writing = self.writing.as_mut().ok_or(Failure::NotInFlashMode)?;
        if block.len() > writing.block_size as usize {
            return Err(Failure::BlockSize);
        }
        let inflate = writing.inflate.as_mut().ok_or(Failure::NotInFlashMode)?;
        let mut plain = Vec::new();
        let mut rest = block;
        loop {
            let before = (inflate.total_in(), plain.len());
            plain.reserve(0x8000);
            let status = inflate.decompress_vec(rest, &mut plain, FlushDecompress::None);
            let status = status.map_err(|_| Failure::Inflate)?;
            let taken = inflate.total_in() - before.0;
            rest = &rest[taken as usize..];
            if plain.len() > writing.left as usize {
                return Err(Failure::TooMuch);
            }
            let stuck = taken == 0 && plain.len() == before.1;
            if status == Status::StreamEnd || stuck {
                break;
            }
        }
        self.program(&plain, parts)
    }

    fn program(&mut self, data: &[u8], parts: &mut Parts<'_>) -> Reply {
        let Some(writing) = &mut self.writing else { return Err(Failure::NotInFlashMode) };
        let len = data.len() as u32;
        let end = writing.at + len;
        if end > writing.erased_to {
            erase(parts, writing.erased_to, end - writing.erased_to)?;
            writing.erased_to = end.next_multiple_of(SECTOR);
        }
        if parts.counts.damages_block(&parts.options.faults) {
            let mut data = data.to_vec();
            // A bit that is one becomes zero, as when a cell fails.
            let byte = data.iter_mut().max().filter(|byte| **byte != 0);
            byte.into_iter().for_each(|byte| *byte &= *byte - 1);
            parts.flash.program(writing.at, &data)?;
        } else {
            parts.flash.program(writing.at, data)?;
        }
        writing.at = end;
        writing.left -= len;
        DONE
    }

    fn end(&mut self, data: &[u8]) -> Reply {
        let [stay] = words(data)?;
        let writing = self.writing.take().ok_or(Failure::NotInFlashMode)?;
        if writing.left > 0 && self.stub {
            return Err(Failure::NotEnough);
        }
        let then = match (stay, self.stub) {
            (0, _) => Then::Reset,
            (_, true) => Then::Stay,
            (_, false) => Then::Run,
        };
        Ok((Answer::Value(0), then))
    }

    /// Sends as much of the flash as may be under way.
    fn send(&mut self, mut parts: Parts<'_>) {
        let Some(reading) = &mut self.reading else { return };
        let len = reading.range.end - reading.range.start;
        let window = reading.block_size.saturating_mul(reading.in_flight);
        while reading.sent < len && reading.sent - reading.acknowledged < window {
            let chunk = reading.block_size.min(len - reading.sent);
            let bytes = parts.flash.read(reading.range.start + reading.sent, chunk);
            if let Ok(bytes) = bytes.map(<[u8]>::to_vec) {
                parts.send(&bytes);
            }
            reading.sent += chunk;
        }
        if reading.acknowledged >= len {
            let digest = parts.flash.read(reading.range.start, len).map(Md5::digest);
            if let Ok(digest) = digest {
                parts.send(&digest);
            }
            self.reading = None;
        }
    }

    fn acknowledge(&mut self, frame: &[u8], parts: Parts<'_>) {
        let Some(reading) = &mut self.reading else { return };
        match <[u8; 4]>::try_from(frame).map(u32::from_le_bytes) {
            Ok(count) if count <= reading.sent => {
                reading.acknowledged = count;
                self.send(parts);
            }
            // A host that has lost the thread gives up, and begins anew.
            _ => self.reading = None,
        }
    }
}

fn erase(parts: &mut Parts<'_>, offset: u32, len: u32) -> Result<(), Failure> {
    let broken = parts.options.faults.erase_fails_at;
    if len > 0 && broken.is_some_and(|at| (offset..offset + len).contains(&at)) {
        return Err(Failure::Spi);
    }
    Ok(parts.flash.erase(offset, len)?)
}

/// Returns the bits of the ESP32's locks in an eFuse word: it has no command
/// that tells them.
fn esp32_locks(address: u32, options: &Options) -> u32 {
    const FLASH_CRYPT_CNT: u32 = 0x3FF5_A000;
    const ABS_DONE: u32 = 0x3FF5_A018;
    match address {
        FLASH_CRYPT_CNT if options.flash_encryption => 1 << 20,
        ABS_DONE if options.secure_boot => 1 << 5,
        _ => 0,
    }
}

fn security_info(options: &Options) -> Vec<u8> {
    const SECURE_BOOT: u32 = 1;
    const SECURE_DOWNLOAD: u32 = 1 << 2;
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    let flags =
        flag(options.secure_boot, SECURE_BOOT) | flag(options.secure_download, SECURE_DOWNLOAD);
    let mut info = flags.to_le_bytes().to_vec();
    // Bits set in the count of flash encryption; purposes of seven keys.
    info.push(u8::from(options.flash_encryption));
    info.extend([0; 7]);
    info.extend(u32::from(options.chip.id()).to_le_bytes());
    info.extend([0; 4]);
    info
}
