"""Writes settings to flash with Espressif's generator of NVS partitions.

stdin: a list of settings, each a list of namespaces with their entries:
    [[namespace, [[key, encoding, value], ...]], ...]
stdout: a list, in the same order, of what is in flash, as hexadecimal digits.
"""

import io
import json
import sys

from esp_idf_nvs_partition_gen import nvs_partition_gen as generator

SIZE = 0x5000


def partition(settings):
    flash = io.BytesIO()
    nvs = generator.nvs_open(flash, SIZE - 0x1000, generator.Page.VERSION2)
    for namespace, entries in settings:
        generator.write_entry(nvs, namespace, "namespace", "", "")
        for key, encoding, value in entries:
            generator.write_entry(nvs, key, "data", encoding, value)
    generator.nvs_close(nvs)
    return flash.getvalue().hex()


json.dump([partition(settings) for settings in json.load(sys.stdin)], sys.stdout)
