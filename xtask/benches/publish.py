"""Publishes prebuilt firmware with esptool, as a maker without a publisher would.

usage: publish.py PLAN SITE [--in-process]

PLAN is a JSON file: project, title, version, base_url, channels, and for each
target its chip and its parts (role, offset, file). Into the folder SITE go the
same files that devices and installers read of a Towline site: artifacts named
by their hash, descriptors, manifests of esp-web-tools and an index.

Images are merged by one `esptool merge-bin` process per target, the usual way,
or with --in-process by esptool imported once, which is the fastest it can be.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path


def merge_in_own_process(chip, parts, folder):
    merged = folder / f"{chip}.merged"
    command = [sys.executable, "-I", "-m", "esptool", "--chip", chip]
    command += ["merge-bin", "--output", merged]
    for part in parts:
        command += [hex(part["offset"]), part["file"]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    content = merged.read_bytes()
    merged.unlink()
    return content


def merge_in_this_process(chip, parts, folder):
    return esptool.merge_bin([(p["offset"], p["content"]) for p in parts], chip)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def publish(plan, site, merge):
    folder = f"firmware/{plan['project']}/{plan['version']}"
    channels = [f"ota/{channel}" for channel in plan["channels"]]
    for directory in [folder, "manifests", *channels]:
        (site / directory).mkdir(parents=True)

    def keep(target, role, content):
        sha256 = hashlib.sha256(content).hexdigest()
        path = f"{folder}/{target}-{role}-{sha256[:12]}.bin"
        (site / path).write_bytes(content)
        return {"path": path, "size": len(content), "sha256": sha256}

    targets = []
    builds = []
    for target in plan["targets"]:
        name, chip, parts = target["target"], target["chip"], target["parts"]
        for part in parts:
            part["content"] = Path(part["file"]).read_bytes()
        factory = keep(name, "factory", merge(chip, parts, site / folder))
        kept = [keep(name, part["role"], part["content"]) for part in parts]
        app = next(k for k, part in zip(kept, parts) if part["role"] == "app")
        placed = [{"offset": p["offset"], **k} for p, k in zip(parts, kept)]
        targets.append({"target": name, "app": app, "parts": placed, "factory": factory})
        builds.append(
            {
                "chipFamily": target["family"],
                "parts": [
                    {"path": f"../{part['path']}", "offset": part["offset"]} for part in placed
                ],
            }
        )
        for channel in plan["channels"]:
            descriptor = {
                "version": plan["version"],
                "path": plan["base_url"] + app["path"],
                "fmt": 1,
                "project": plan["project"],
                "target": name,
                "channel": channel,
                "chip": chip,
                "chip_id": target["chip_id"],
                "size": app["size"],
                "sha256": app["sha256"],
                "secure_version": 0,
            }
            write_json(site / f"ota/{channel}/{name}.json", descriptor)

    for channel in plan["channels"]:
        manifest = {
            "name": plan["title"],
            "version": plan["version"],
            "new_install_prompt_erase": True,
            "builds": builds,
        }
        write_json(site / f"manifests/{channel}.json", manifest)
    release = {"version": plan["version"], "targets": targets}
    index = {"project": plan["project"], "channels": plan["channels"], "releases": [release]}
    write_json(site / "releases.json", index)


plan_file, site_folder, *options = sys.argv[1:]
if options == ["--in-process"]:
    import esptool

    how = merge_in_this_process
else:
    how = merge_in_own_process
publish(json.loads(Path(plan_file).read_text()), Path(site_folder), how)
