"""Boots an ESP32-C3 flash image on an emulated CPU and prints what it prints.

    esp32c3.py FLASH.bin [--until TEXT] [--max-instructions N] [--write-back]

FLASH.bin is flash from offset 0: bootloader at 0x0, partition table at 0x8000,
apps in their slots; what is missing to 4 MB is blank. The image's own second-stage bootloader runs, instruction by
instruction, and starts the app as it would on the chip:

    ROM (modelled) -> bootloader (runs) -> MMU (modelled) -> app (runs)

Modelled, so not proven: the mask ROM, whose functions are Python below; flash,
with NOR rules; the MMU; the few registers that start-up code reads. Any other
register is memory. There are no interrupts, no radio, no caches, no watchdog
that bites. Time is modelled too: it passes when somebody looks at a clock, so
that every run is the same run.

The output of UART0 and of the USB serial port goes to stdout. The exit status
is 0 if TEXT appeared (without --until: if nothing went wrong), 1 otherwise,
with a diagnosis on stderr, and 2 for wrong usage. Needs the package `unicorn`.

Source of addresses: the linker scripts of ESP-IDF's `esp_rom` for the
ESP32-C3, and the chip's technical reference manual.
"""

import argparse
import collections
import ctypes
import functools
import hashlib
import operator
import struct
import sys
import zlib

from unicorn import (
    UC_ARCH_RISCV,
    UC_HOOK_CODE,
    UC_HOOK_INTR,
    UC_MODE_RISCV32,
    UC_PROT_ALL,
    UC_PROT_EXEC,
    UC_PROT_READ,
    Uc,
    UcError,
)
from unicorn.riscv_const import (
    UC_CPU_RISCV32_SIFIVE_E31,
    UC_RISCV_REG_A0,
    UC_RISCV_REG_PC,
    UC_RISCV_REG_RA,
    UC_RISCV_REG_SP,
    UC_RISCV_REG_X0,
)

SRAM_DATA, SRAM_CODE, SRAM_SIZE = 0x3FC80000, 0x40380000, 0x60000
ROM_CODE, ROM_CODE_SIZE = 0x40000000, 0x60000
XIP_DATA, XIP_CODE, XIP_SIZE = 0x3C000000, 0x42000000, 0x800000
MMIO, MMIO_SIZE = 0x60000000, 0x100000
PAGE, SECTOR, BLOCK = 0x10000, 0x1000, 0x10000

# The ROM's stack ends here, and the bootloader goes on with it.
ROM_STACK = 0x3FCDE710
# The ROM keeps a pointer to what it knows of the flash chip; the struct itself
# may stand anywhere in its own memory.
ROM_FLASH_POINTER, ROM_FLASH = 0x3FCDFFF0, 0x3FCDFE00

FLASH_SIZE = 0x400000
CPU_MHZ = 160
SYSTIMER_MHZ = 16
CRYSTAL_MHZ, RC_SLOW_HZ = 40, 136_000
# What one look at a clock takes, in microseconds.
LOOK = 100

RESET_POWER_ON, RESET_SOFTWARE = 1, 3
MAX_RESETS = 8

ROM = {}


def rom(address, name):
    """Registers a function of the mask ROM, called with machine and a0 to a7."""

    def register(function):
        ROM[address] = (name, function)
        return function

    return register


class Machine:
    """The chip: memory, registers, flash and what was printed."""

    def __init__(self, flash):
        # Chips come in powers of two; this one says it is a Winbond.
        bits = max(len(flash), FLASH_SIZE).bit_length() - 1
        bits += len(flash) > 1 << bits
        self.flash = bytearray(flash.ljust(1 << bits, b"\xff"))
        self.flash_id = bits << 16 | 0x40EF
        self.output = bytearray()
        self.trace = collections.deque(maxlen=24)
        self.fault = None
        self.until = None
        self.reset_reason = RESET_POWER_ON
        self.resets = 0
        self.micros = 0

        self.uc = Uc(UC_ARCH_RISCV, UC_MODE_RISCV32)
        self.uc.ctl_set_cpu_model(UC_CPU_RISCV32_SIFIVE_E31)
        self._sram = (ctypes.c_ubyte * SRAM_SIZE)()
        self._xip = (ctypes.c_ubyte * XIP_SIZE)()
        for base, size, rights, memory in (
            (SRAM_DATA, SRAM_SIZE, UC_PROT_ALL, self._sram),
            (SRAM_CODE, SRAM_SIZE, UC_PROT_ALL, self._sram),
            (XIP_DATA, XIP_SIZE, UC_PROT_READ, self._xip),
            (XIP_CODE, XIP_SIZE, UC_PROT_READ | UC_PROT_EXEC, self._xip),
        ):
            self.uc.mem_map_ptr(base, size, rights, ctypes.addressof(memory))
        self.uc.mem_map(ROM_CODE, ROM_CODE_SIZE)
        # `ret` wherever the ROM is called: the hook does the work before.
        self.uc.mem_write(ROM_CODE, b"\x82\x80" * (ROM_CODE_SIZE // 2))
        self.uc.mmio_map(MMIO, MMIO_SIZE, self._read, None, self._write, None)
        self.uc.hook_add(UC_HOOK_CODE, self._rom, begin=ROM_CODE, end=ROM_CODE + ROM_CODE_SIZE - 1)
        self.uc.hook_add(UC_HOOK_INTR, self._exception)

    # --- CPU ---

    @property
    def pc(self):
        return self.uc.reg_read(UC_RISCV_REG_PC)

    def stop(self, fault=None):
        self.fault = self.fault or fault
        self.uc.emu_stop()

    def boot(self):
        """Does what the ROM does after a reset: loads and enters the bootloader."""
        self.registers = {
            0x60008850: 4 << 18,  # eFuse: chip revision v0.4
            0x6001F068: 1 << 15,  # TIMG0: calibration ready
        }
        self.csr = {}
        self.digests = []
        self.resetting = False
        self.uc.ctl_flush_tb()
        for page in range(XIP_SIZE // PAGE):
            self._map_page(page, 0x100)
        magic, count = self.flash[:2]
        if magic != 0xE9:
            return self.stop("no bootloader at 0x0")
        (entry,) = struct.unpack_from("<I", self.flash, 4)
        at, checksum = 24, 0xEF
        for _ in range(count):
            address, length = struct.unpack_from("<II", self.flash, at)
            data = bytes(self.flash[at + 8 : at + 8 + length])
            self.put(address, data)
            checksum = functools.reduce(operator.xor, data, checksum)
            at += 8 + length
        if self.flash[at | 15] != checksum:
            return self.stop("the bootloader's checksum is wrong")
        chip = struct.pack("<6I", self.flash_id, len(self.flash), BLOCK, SECTOR, 256, 0xFFFF)
        self.put(ROM_FLASH, chip)
        self.put(ROM_FLASH_POINTER, struct.pack("<I", ROM_FLASH))
        self.uc.reg_write(UC_RISCV_REG_SP, ROM_STACK)
        self.uc.reg_write(UC_RISCV_REG_PC, entry)

    def run(self, until, max_instructions):
        """Runs until a line with `until` was printed; returns whether it was.

        `max_instructions` are counted anew after a reset. There is one start of
        the CPU a boot: resumed in the middle of a block, Unicorn loses its way.
        """
        self.until = until
        self.boot()
        while not self.fault and not self._done():
            try:
                self.uc.emu_start(self.pc, 0xFFFFFFFF, count=max_instructions)
            except UcError as err:
                self.fault = str(err)
            if self.resetting and self.resets < MAX_RESETS:
                self.resets += 1
                self.reset_reason = RESET_SOFTWARE
                self.boot()
            elif until is None:
                break
            elif not self._done():
                self.stop(
                    f"not printed in {max_instructions} instructions a boot, {self.resets} resets"
                )
        return self._done() if until else self.fault is None

    def reset(self):
        self.resetting = True
        self.uc.emu_stop()

    def _done(self):
        return self.until is not None and self.until in self.output

    def print(self, data):
        self.output += data
        sys.stdout.buffer.write(data)
        if data.endswith(b"\n"):
            sys.stdout.buffer.flush()
            if self._done():
                self.uc.emu_stop()

    def _rom(self, uc, address, _size, _data):
        args = [uc.reg_read(UC_RISCV_REG_A0 + i) for i in range(8)]
        name, function = ROM.get(address, (None, None))
        caller = uc.reg_read(UC_RISCV_REG_RA)
        self.trace.append(("call %s %#x from %#x", name or "?", address, caller))
        if function is None:
            return self.stop(f"ROM function {address:#x} is not modelled")
        result = function(self, *args) or 0
        uc.reg_write(UC_RISCV_REG_A0, result & 0xFFFFFFFF)
        if name in WIDE:
            uc.reg_write(UC_RISCV_REG_A0 + 1, result >> 32 & 0xFFFFFFFF)

    def _exception(self, uc, cause, _data):
        # The CPU model has none of Espressif's own CSRs (counters, triggers):
        # reading or writing one is an illegal instruction here. PC is already
        # past it.
        at = self.pc - 4
        try:
            (word,) = struct.unpack("<I", uc.mem_read(at, 4))
        except UcError:
            word = 0
        kind, number = word >> 12 & 7, word >> 20
        if cause != 2 or word & 0x7F != 0x73 or not kind:
            return self.stop(f"exception {cause} at {at:#x} ({word:#010x})")
        target, source = word >> 7 & 31, word >> 15 & 31
        old = self.csr.get(number, 0)
        if number == 0x7E2:  # cycle counter
            self.micros += LOOK
            old = self.micros * CPU_MHZ & 0xFFFFFFFF
        value = source if kind & 4 else uc.reg_read(UC_RISCV_REG_X0 + source)
        change = {1: value, 2: old | value, 3: old & ~value}[kind & 3]
        if kind & 3 == 1 or source:
            self.csr[number] = change
        if target:
            uc.reg_write(UC_RISCV_REG_X0 + target, old)

    # --- flash and MMU ---

    def _map_page(self, index, entry):
        self.registers[0x600C5000 + 4 * index] = entry
        page = bytes(PAGE)
        if not entry & 0x100:
            start = (entry & 0xFF) * PAGE
            page = bytes(self.flash[start : start + PAGE]).ljust(PAGE, b"\xff")
        ctypes.memmove(ctypes.addressof(self._xip) + index * PAGE, page, PAGE)
        for base in (XIP_DATA, XIP_CODE):
            start = base + index * PAGE
            self.uc.ctl_remove_cache(start, start + PAGE)

    def _flash_changed(self, start, length):
        for index in range(XIP_SIZE // PAGE):
            entry = self.registers[0x600C5000 + 4 * index]
            page = (entry & 0xFF) * PAGE
            if not entry & 0x100 and page < start + length and start < page + PAGE:
                self._map_page(index, entry)

    def erase(self, start, length):
        if start + length > len(self.flash):
            return 1
        self.flash[start : start + length] = b"\xff" * length
        self._flash_changed(start, length)
        return 0

    def program(self, start, data):
        if start % 4 or len(data) % 4 or start + len(data) > len(self.flash):
            return 1
        for at, byte in enumerate(data, start):
            self.flash[at] &= byte
        self._flash_changed(start, len(data))
        return 0

    # --- registers ---

    def _read(self, _uc, offset, size, _data):
        address = MMIO + offset
        value = self.registers.get(address & ~3, 0)
        if address & ~3 == 0x600260B0:  # random number generator
            self.micros += LOOK
            value = zlib.crc32(struct.pack("<Q", self.micros))
        self.trace.append(("read %#x -> %#x at %#x", address, value, self.pc))
        return value >> 8 * (address & 3) & (1 << 8 * size) - 1

    def _write(self, _uc, offset, size, value, _data):
        address = MMIO + offset
        self.trace.append(("write %#x <- %#x at %#x", address, value, self.pc))
        if address in (0x60000000, 0x60043000):  # UART0, USB serial: FIFO
            return self.print(bytes([value & 0xFF]))
        if 0x600C5000 <= address < 0x600C5200:  # MMU table
            return self._map_page((address - 0x600C5000) // 4, value & 0x1FF)
        if size != 4:
            old, shift = self.registers.get(address & ~3, 0), 8 * (address & 3)
            mask = (1 << 8 * size) - 1 << shift
            address, value = address & ~3, old & ~mask | value << shift & mask
        self.registers[address] = value
        if address == 0x60002000 and value:  # SPI1: command
            self._spi_command(value)
        elif address == 0x60008000 and value >> 31:  # RTC: system reset
            self.reset()
        elif address in (0x60023004, 0x60023008) and value >> 30 & 1:  # SYSTIMER
            self.micros += LOOK
            unit = (address - 0x60023004) // 4
            ticks = self.micros * SYSTIMER_MHZ
            self.registers[0x60023040 + 8 * unit] = ticks >> 32
            self.registers[0x60023044 + 8 * unit] = ticks & 0xFFFFFFFF
            self.registers[address] = value & ~(1 << 30) | 1 << 29
        elif address == 0x6001F068 and value >> 31:  # TIMG0: calibrate slow clock
            cycles = (value >> 16 & 0x7FFF) * CRYSTAL_MHZ * 1_000_000 // RC_SLOW_HZ
            self.registers[0x6001F06C] = cycles << 7 | 1
            self.registers[address] = value | 1 << 15
        elif address == 0x6000800C and value >> 31:  # RTC: latch the time
            self.micros += LOOK
            ticks = self.micros * RC_SLOW_HZ // 1_000_000
            self.registers[0x60008010] = ticks & 0xFFFFFFFF
            self.registers[0x60008014] = ticks >> 32

    def _spi_command(self, value):
        opcode = self.registers.get(0x60002020, 0) & 0xFFFF
        if value >> 28 & 1 or value >> 18 & 1 and opcode == 0x9F:
            self.registers[0x60002058] = self.flash_id
        else:
            self.registers[0x60002058] = 0
        self.registers[0x60002000] = 0

    # --- memory, for the ROM functions ---

    def get(self, address, length):
        return bytes(self.uc.mem_read(address, length)) if length else b""

    def put(self, address, data):
        if data:
            self.uc.mem_write(address, data)

    def new_digest(self, context, digest):
        # A context may be moved: what it holds finds the digest again.
        self.put(context, struct.pack("<I", len(self.digests)))
        self.digests.append(digest)

    def digest(self, context):
        return self.digests[struct.unpack("<I", self.get(context, 4))[0]]

    def text(self, address):
        data = bytearray()
        while (byte := self.get(address + len(data), 1)) != b"\0":
            data += byte
        return bytes(data)


# --- the mask ROM ---


def nothing(_machine, *_args):
    return 0


for address, name in {
    0x40000048: "ets_install_uart_printf",
    0x40000080: "uart_tx_flush",
    0x40000084: "uart_tx_wait_idle",
    0x4000010C: "esp_rom_spiflash_wait_idle",
    0x40000140: "esp_rom_spiflash_unlock",
    0x400004C8: "ROM_Boot_Cache_Init",
    0x4000051C: "Cache_Disable_ICache",
    0x40000520: "Cache_Enable_ICache",
    0x40000588: "ets_update_cpu_frequency",
    0x400005CC: "gpio_pad_set_drv",
    0x40000644: "ets_sha_enable",
    0x4000071C: "ets_efuse_get_spiconfig",
    0x4000072C: "ets_efuse_get_wp_pad",
    0x40001954: "rom_i2c_readReg",
    0x4000195C: "rom_i2c_writeReg",
    0x40001960: "rom_i2c_writeReg_Mask",
}.items():
    rom(address, name)(nothing)


@rom(0x40000018, "rtc_get_reset_reason")
def reset_reason(m, *_):
    return m.reset_reason


@rom(0x40000040, "ets_printf")
def printf(m, template, *args):
    # Seven arguments come in registers, the rest lie on the stack.
    stack = struct.unpack("<16I", m.get(m.uc.reg_read(UC_RISCV_REG_SP), 64))
    args, text, out = [*args, *stack], m.text(template).decode(), ""
    at = 0
    while at < len(text):
        start, at = at, at + 1
        if text[start] != "%":
            out += text[start]
            continue
        while text[at] in "0123456789-+ #.l":
            at += 1
        kind, form = text[at], text[start:at].replace("l", "")
        at += 1
        if kind == "%":
            out += "%"
            continue
        value = args.pop(0)
        if kind == "s":
            out += (form + "s") % m.text(value).decode(errors="replace")
        elif kind == "c":
            out += chr(value & 0xFF)
        elif kind in "di":
            out += (form + "d") % (value - (value >> 31 << 32))
        else:
            out += (form + kind.replace("u", "d").replace("p", "x")) % value
    m.print(out.encode())


@rom(0x40000050, "ets_delay_us")
def delay(m, micros, *_):
    m.micros += micros


@rom(0x40000068, "uart_tx_one_char")
def uart_tx_one_char(m, char, *_):
    m.print(bytes([char & 0xFF]))


@rom(0x40000090, "software_reset")
def software_reset(m, *_):
    m.reset()


@rom(0x40000124, "esp_rom_spiflash_erase_block")
def erase_block(m, block, *_):
    return m.erase(block * BLOCK, BLOCK)


@rom(0x40000128, "esp_rom_spiflash_erase_sector")
def erase_sector(m, sector, *_):
    return m.erase(sector * SECTOR, SECTOR)


@rom(0x4000012C, "esp_rom_spiflash_write")
def flash_write(m, start, source, length, *_):
    return m.program(start, m.get(source, length))


@rom(0x40000130, "esp_rom_spiflash_read")
def flash_read(m, start, target, length, *_):
    if start + length > len(m.flash):
        return 1
    m.put(target, bytes(m.flash[start : start + length]))


@rom(0x40000134, "esp_rom_spiflash_config_param")
def flash_config(m, *args):
    m.put(ROM_FLASH, struct.pack("<6I", *args[:6]))


@rom(0x40000354, "memset")
def memset(m, target, value, length, *_):
    m.put(target, bytes([value & 0xFF]) * length)
    return target


@rom(0x40000358, "memcpy")
def memcpy(m, target, source, length, *_):
    m.put(target, m.get(source, length))
    return target


@rom(0x4000035C, "memmove")
def memmove(m, target, source, length, *_):
    m.put(target, m.get(source, length))
    return target


@rom(0x40000360, "memcmp")
def memcmp(m, left, right, length, *_):
    left, right = m.get(left, length), m.get(right, length)
    return (left > right) - (left < right)


@rom(0x40000584, "ets_get_cpu_frequency")
def cpu_frequency(_m, *_):
    return CPU_MHZ


@rom(0x40000614, "MD5Init")
def md5_start(m, context, *_):
    m.new_digest(context, hashlib.md5())


@rom(0x40000618, "MD5Update")
@rom(0x4000065C, "ets_sha_update")
def digest_update(m, context, data, length, *_):
    m.digest(context).update(m.get(data, length))


@rom(0x4000061C, "MD5Final")
def md5_finish(m, target, context, *_):
    m.put(target, m.digest(context).digest())


@rom(0x40000628, "crc32_le")
def crc32_le(m, crc, data, length, *_):
    return zlib.crc32(m.get(data, length), crc)


@rom(0x40000650, "ets_sha_init")
def sha_start(m, context, kind, *_):
    m.new_digest(context, hashlib.sha256())


@rom(0x40000660, "ets_sha_finish")
def sha_finish(m, context, target, *_):
    m.put(target, m.digest(context).digest())


@rom(0x400008AC, "__udivdi3")
def udivdi3(_m, low, high, by_low, by_high, *_):
    return (low | high << 32) // ((by_low | by_high << 32) or 1)


# Functions that return 64 bits, in a0 and a1.
WIDE = {"__udivdi3"}


def main():
    summary, _, _ = __doc__.partition("\n")
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("flash", help="image of the whole flash, from offset 0")
    parser.add_argument("--until", metavar="TEXT", help="stop after the line that has this")
    parser.add_argument(
        "--max-instructions",
        metavar="N",
        type=int,
        default=20_000_000,
        help="counted anew after a reset",
    )
    parser.add_argument(
        "--write-back", action="store_true", help="keep in FLASH what the run wrote to it"
    )
    args = parser.parse_args()
    try:
        with open(args.flash, "rb") as file:
            machine = Machine(file.read())
    except OSError as err:
        parser.error(str(err))
    until = args.until.encode() if args.until is not None else None
    done = machine.run(until, args.max_instructions)
    if args.write_back:
        with open(args.flash, "wb") as file:
            file.write(machine.flash)
    if not done:
        print(f"\nstopped at {machine.pc:#x}: {machine.fault}", file=sys.stderr)
        for form, *values in machine.trace:
            print("  " + form % tuple(values), file=sys.stderr)
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
