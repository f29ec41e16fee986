"""Boots variants of a flash image with the bootloader that is in it, emulated.

stdin: an object of

    emulator  the folder of esp32c3.py
    flash     the file with the flash image
    until     text; a boot ends after the line that has it
    otadata   the flash offsets of the two records of otadata
    variants  lists of `[offset, hexadecimal digits]`: bytes that are put into
              the flash before the boot

stdout: a list, in the order of the variants, of `{"reached", "output",
"otadata"}`: whether a line had the text, what was printed, and the records
afterwards as hexadecimal digits.
"""

import contextlib
import io
import json
import sys

question = json.load(sys.stdin)
sys.path.insert(0, question["emulator"])

from esp32c3 import Machine

MAX_INSTRUCTIONS = 20_000_000


def boot(flash, variant):
    for offset, data in variant:
        data = bytes.fromhex(data)
        flash[offset : offset + len(data)] = data
    machine = Machine(bytes(flash))
    # It prints as it goes.
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
        reached = machine.run(question["until"].encode(), MAX_INSTRUCTIONS)
    records = [machine.flash[at : at + 32].hex() for at in question["otadata"]]
    return {
        "reached": reached,
        "output": machine.output.decode(errors="replace"),
        "otadata": records,
    }


with open(question["flash"], "rb") as file:
    image = file.read()
json.dump([boot(bytearray(image), variant) for variant in question["variants"]], sys.stdout)
