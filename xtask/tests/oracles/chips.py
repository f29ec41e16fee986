"""Lists the ESP32 family as esptool knows it.

stdout: an object of chips by name; each has `family`, `id` (of image headers),
`bootloader_offset` (of the second-stage bootloader, in bytes) and `mapped` (the
address at which flash appears as data).
"""

import json
import sys

from esptool.targets import CHIP_DEFS

chips = {
    name: {
        "family": chip.CHIP_NAME,
        "id": chip.IMAGE_CHIP_ID,
        "bootloader_offset": chip.BOOTLOADER_FLASH_OFFSET,
        "mapped": next(start for start, _, kind in chip.MEMORY_MAP if kind == "DROM"),
    }
    for name, chip in CHIP_DEFS.items()
    if name.startswith("esp32")
}
json.dump(chips, sys.stdout)
