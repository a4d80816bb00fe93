"""Fetch what the pages need from npm and put it where the server serves it from: `make web`, and the wheel's build.

Standard library alone: it runs before anything is installed. Without npm there is nothing to do, and the
server says on its page what is missing.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENDOR = HERE.parent / "src" / "proffer" / "web" / "vendor"
_ALLOY = "node_modules/@adobe/alloy"
_BUNDLED = (
    "@adobe/aep-rules-engine",
    "@adobe/reactor-query-string",
    "css.escape",
    "js-cookie",
    "uuid",
)
"""What the file of alloy has inside beside alloy itself."""


def main(*, quiet: bool = False) -> bool:
    """Make the vendored files if they are absent or older than the lock file; whether they are there."""
    script, lock = VENDOR / "alloy.min.js", HERE / "package-lock.json"
    if script.exists() and script.stat().st_mtime >= lock.stat().st_mtime:
        return True
    npm = shutil.which("npm")
    if npm is None:
        print("npm is absent: the page /demo will say that alloy is missing", file=sys.stderr)
        return script.exists()
    if not quiet:
        print("Fetching @adobe/alloy from npm (once) ...", file=sys.stderr)
    command = [npm, "ci", "--no-progress", "--loglevel=error"]
    try:
        subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.DEVNULL, timeout=600)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        print(f"npm could not fetch alloy ({error}); /demo will say so", file=sys.stderr)
        return script.exists()
    VENDOR.mkdir(parents=True, exist_ok=True)
    (VENDOR / "alloy.LICENSE.txt").write_text(licences(), encoding="utf-8")
    shutil.copyfile(HERE / _ALLOY / "dist" / "alloy.min.js", script)
    return True


def licences() -> str:
    """The terms of alloy and of all that is inside its file."""
    version = json.loads((HERE / _ALLOY / "package.json").read_text(encoding="utf-8"))["version"]
    parts = [
        f"alloy.min.js is dist/alloy.min.js of the npm package @adobe/alloy {version}, unchanged.\n",
        (HERE / _ALLOY / "LICENSE_BANNER").read_text(encoding="utf-8"),
        (HERE / "node_modules/@adobe/alloy-core/LICENSE").read_text(encoding="utf-8"),
    ]
    for name in _BUNDLED:
        folder = HERE / "node_modules" / name
        if not folder.is_dir():
            continue
        about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        parts.append(f"It contains {name} {about['version']} ({about.get('license')}).\n")
        texts = sorted(folder.glob("LICEN[CS]E*"))
        parts += [path.read_text(encoding="utf-8") for path in texts]
    return f"\n{'-' * 80}\n\n".join(parts)


if __name__ == "__main__":
    main()
