"""Make src/ehlo/report/data/caniemail.json from the npm package `caniemail`, whose file data/caniemail.json is given.

    npm pack caniemail && tar xf caniemail-*.tgz
    python scripts/vendor_caniemail.py package/data/caniemail.json

Of each feature that some mail client lacks it keeps the title and those clients, by the newest version tested.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "src/ehlo/report/data/caniemail.json"


def lacking(feature: dict[str, Any], names: dict[str, dict[str, str]]) -> list[str]:
    """The clients whose newest tested version does not support a feature."""
    return [
        f"{names['family'].get(family, family)} ({names['platform'].get(platform, platform)})"
        for family, platforms in feature["stats"].items()
        for platform, versions in platforms.items()
        if versions and list(versions.values())[-1].startswith("n")
    ]


def main() -> None:
    """Read, reduce, write."""
    source = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    features = {
        feature["slug"]: {"title": feature["title"], "lacking": clients}
        for feature in source["data"]
        if (clients := lacking(feature, source["nicenames"]))
    }
    reduced = {
        "source": "https://www.caniemail.com/, by way of the npm package caniemail",
        "updated": source["last_update_date"][:10],
        "licence": "MIT; see caniemail.LICENSE",
        "features": features,
    }
    TARGET.write_text(json.dumps(reduced, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print(f"{len(features)} features, {TARGET.stat().st_size} octets")


if __name__ == "__main__":
    main()
