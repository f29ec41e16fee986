"""Makes a patch as others do, and writes what it took to RESULT, as JSON.

usage: patch.py METHOD OLD NEW RESULT

Seconds are those of the function, without starting Python; `used` is what processors
worked. The window of heatshrink has the 4 KiB that devices of the small profile have.
xz compresses the new image alone.
"""

import io
import json
import sys
import time


def detools(**options):
    import detools

    def make(old, new):
        patch = io.BytesIO()
        detools.create_patch(io.BytesIO(old), io.BytesIO(new), patch, **options)
        return patch.getvalue()

    return make


def heatshrink(lookahead):
    return detools(
        compression="heatshrink",
        heatshrink_window_sz2=12,
        heatshrink_lookahead_sz2=lookahead,
    )


def bsdiff():
    import bsdiff4

    return bsdiff4.diff


def xz():
    import lzma

    return lambda old, new: lzma.compress(new, preset=9 | lzma.PRESET_EXTREME)


METHODS = {
    "heatshrink-7": lambda: heatshrink(7),
    "heatshrink-8": lambda: heatshrink(8),
    "heatshrink-11": lambda: heatshrink(11),
    "lzma": lambda: detools(compression="lzma"),
    "bsdiff": bsdiff,
    "xz": xz,
}


def main():
    method, old, new, result = sys.argv[1:]
    old, new = (open(path, "rb").read() for path in (old, new))
    make = METHODS[method]()
    wall, used = time.perf_counter(), time.process_time()
    size = len(make(old, new))
    wall, used = time.perf_counter() - wall, time.process_time() - used
    with open(result, "w") as file:
        json.dump({"size": size, "seconds": wall, "used": used}, file)


main()
