"""Boots variants of a flash image with the bootloader that is in it, emulated.

stdin: `{"emulator": folder of esp32c3.py, "flash": file, "until": text,
"variants": list}`. A variant is a list of `[offset, hexadecimal digits]`:
bytes to put into the flash before the boot. stdout: a list, in the same order,
of `{"reached": whether a line had the text, "output": what was printed,
"otadata": the records afterwards}`; `otadata` in stdin is where those are.
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
