"""Parses the heads of app images with esp-idf-defs.

stdin: a list of heads, the first 288 bytes of an image as hexadecimal digits.
stdout: a list, in the same order, of what header and app descriptor say, or
`null` where they are refused.
"""

import json
import sys

from esp_idf_defs.app_description import AppDescription
from esp_idf_defs.image_metadata import ImageHeader


def parse(head):
    try:
        header = ImageHeader.from_bytes(head)
        app = AppDescription.from_bytes(head[AppDescription.FIRMWARE_BINARY_OFFSET :])
    except ValueError:
        return None
    return {
        "segments": header.segment_count,
        "spi_mode": header.spi_mode,
        "spi_speed": header.spi_frequency,
        "flash_size": header.spi_size,
        "entry": header.entry_address,
        "chip_id": header.chip_id,
        "hash_appended": header.hash_appended,
        "secure_version": app.secure_version,
        "version": app.version,
        "project_name": app.project_name,
        "time": app.time,
        "date": app.date,
        "idf_version": app.idf_version,
        "elf_sha256": app.elf_sha256.hex(),
    }


json.dump([parse(bytes.fromhex(head)) for head in json.load(sys.stdin)], sys.stdout)
