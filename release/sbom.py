#!/usr/bin/env python3
"""Writes a CycloneDX document of what the release binary is made of: sbom.py IN OUT.

IN is cargo-cyclonedx's. It goes by Cargo's metadata, which name crates that only a feature would bring that is not
on; whoever looks for vulnerable crates would be told of some that are not there. `cargo tree` knows better.

OUT holds nothing that differs from one run to the next: the time is that of the commit (SOURCE_DATE_EPOCH), the
number is left out, and the folder it was made in does not show.
"""

import datetime
import json
import os
import subprocess
import sys

PACKAGE = "scim-bridge-operator"
TARGETS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")


def built():
    """Name and version of every crate that is linked for any of the targets."""
    crates = set()
    for target in TARGETS:
        command = ["cargo", "tree", "--locked", "--package", PACKAGE, "--edges", "normal", "--target", target]
        tree = subprocess.run(
            [*command, "--prefix", "none", "--format", "{p}"], check=True, capture_output=True, text=True
        )
        for line in tree.stdout.splitlines():
            name, version = line.split()[:2]
            crates.add((name, version.removeprefix("v")))
    return {crate for crate in crates if crate[0] != PACKAGE}


def main(source, destination):
    with open(source, encoding="utf-8") as file:
        text = file.read().replace(os.getcwd(), ".")
    # There is nothing to download from where it was built.
    document = json.loads(text.replace("?download_url=file://.", ""))
    crates = built()
    identity = lambda component: (component["name"], component["version"])
    missing = crates - {identity(component) for component in document["components"]}
    if missing or document["metadata"]["component"]["name"] != PACKAGE:
        sys.exit(f"{source} is not about the whole of {PACKAGE}: it lacks {sorted(missing)}")

    kept = [component for component in document["components"] if identity(component) in crates]
    references = {component["bom-ref"] for component in kept}
    root = document["metadata"]["component"]["bom-ref"]
    document["components"] = sorted(kept, key=identity)
    document["dependencies"] = [
        {**entry, "dependsOn": sorted(references.intersection(entry.get("dependsOn", [])))}
        for entry in sorted(document["dependencies"], key=lambda entry: entry["ref"])
        if entry["ref"] in references | {root}
    ]
    document.pop("serialNumber", None)
    time = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    document["metadata"]["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ")
    with open(destination, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
