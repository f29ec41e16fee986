"""Decides boot selection as ESP-IDF's bootloader does.

stdin: a list of pairs of records, each record 32 bytes as hexadecimal digits.
stdout: a list, in the same order, of

    records  for each record its `seq`, `state`, whether it is `invalid` and
             `valid`, and `bytes`: what esp-idf-defs writes for that seq and
             state, `null` for a state without a name
    active   the sector of the record that decides, or `null`
    slots    the slot that it selects of 1, 2, ... 16 slots, `null` if none does

esp-idf-defs knows how a record is laid out, but its own selection is not
ESP-IDF's: it ignores the crc and the states. The rules are written out here,
from `bootloader_common_loader.c` and `bootloader_utility.c`.
"""

import json
import struct
import sys
import zlib

from esp_idf_defs.otadata import OtaDataSelectEntry, OtaImageState

BLANK = 0xFFFFFFFF
REJECTED = {OtaImageState.INVALID, OtaImageState.ABORTED}
STATES = {int(state) for state in OtaImageState}


def record(data):
    assert len(data) == OtaDataSelectEntry.SIZE
    seq, state, crc = struct.unpack("<I20xII", data)
    invalid = seq == BLANK or state in REJECTED
    right = zlib.crc32(data[:4], BLANK)
    written = OtaDataSelectEntry(seq, OtaImageState(state)).to_bytes() if state in STATES else None
    return {
        "seq": seq,
        "state": state,
        "invalid": invalid,
        "valid": not invalid and crc == right,
        "bytes": written and written.hex(),
    }


def decide(pair):
    records = [record(bytes.fromhex(data)) for data in pair]
    valid = [sector for sector in (0, 1) if records[sector]["valid"]]
    # Sector 1 decides only if its seq is higher: a tie is sector 0's.
    active = max(valid, key=lambda sector: (records[sector]["seq"], -sector), default=None)
    slots = None
    if active is not None:
        # Unsigned, as in C: below 0 comes the highest.
        raw = (records[active]["seq"] - 1) & BLANK
        slots = [raw % count for count in range(1, 17)]
    return {"records": records, "active": active, "slots": slots}


json.dump([decide(pair) for pair in json.load(sys.stdin)], sys.stdout)
