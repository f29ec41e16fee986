"""Reads partition tables with esp-idf-defs, which has them from ESP-IDF's own tool.

stdin: a list of `{"csv": text, "binary": hexadecimal digits}`. stdout: a list,
in the same order, of `{"csv", "binary"}`: the binary table that ESP-IDF makes
of the text, as hexadecimal digits, and the entries of the binary one, whose MD5
has to be right, each as `[name, type, subtype, offset, size]`.
"""

import json
import sys

from esp_idf_defs.partitions import PartitionTable


def read(table):
    binary = PartitionTable.from_binary(bytes.fromhex(table["binary"]))
    binary.verify()
    return {
        "csv": PartitionTable.from_csv(table["csv"]).to_binary().hex(),
        "binary": [[e.name, e.type, e.subtype, e.offset, e.size] for e in binary],
    }


json.dump([read(table) for table in json.load(sys.stdin)], sys.stdout)
