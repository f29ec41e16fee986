"""Runs command lines of esptool in one process and reports what each printed.

stdin: a list of argument lists. stdout: a list, in the same order, of
`{"failed": bool, "output": text}`.
"""

import contextlib
import io
import json
import os
import sys

# Before esptool is imported: it looks at them once.
os.environ.update(COLUMNS="250", NO_COLOR="1", TERM="dumb")

import esptool


def run(arguments):
    output = io.StringIO()
    failed = False
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            esptool.main(arguments)
        except SystemExit as end:
            failed = bool(end.code)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
            failed = True
    return {"failed": failed, "output": output.getvalue()}


json.dump([run(arguments) for arguments in json.load(sys.stdin)], sys.stdout)
