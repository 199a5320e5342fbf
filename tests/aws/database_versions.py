"""The versions of databases that RDS offers: moto has none."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.rds.responses import RDSResponse

OFFERED = ("15.12", "16.8", "16.9", "16.10", "17.4", "17.5", "17.6")
DEPRECATED = ("13.3",)
UPGRADES = {
    "13.3": ("13.20", "15.12"),
    "15.12": ("16.8", "16.9", "16.10", "17.6"),
    "16.8": ("16.9", "16.10", "17.4", "17.5", "17.6"),
    "16.9": ("16.10", "17.5", "17.6"),
    "16.10": ("17.6",),
    "17.4": ("17.5", "17.6"),
    "17.5": ("17.6",),
}


def _describe_db_engine_versions(response: RDSResponse) -> ActionResult:
    parameters = response.params
    if parameters.get("Engine") != "postgres":
        return ActionResult({"DBEngineVersions": []})
    versions = OFFERED + (DEPRECATED if parameters.get("IncludeAll") else ())
    wanted = parameters.get("EngineVersion")
    return ActionResult({"DBEngineVersions": [_version(each) for each in versions if wanted in (None, each)]})


def _version(version: str) -> dict[str, Any]:
    return {
        "Engine": "postgres",
        "EngineVersion": version,
        "MajorEngineVersion": version.split(".")[0],
        "DBParameterGroupFamily": f"postgres{version.split('.')[0]}",
        "Status": "deprecated" if version in DEPRECATED else "available",
        "ValidUpgradeTarget": [{"Engine": "postgres", "EngineVersion": each} for each in UPGRADES.get(version, ())],
    }


def install() -> None:
    """Add it to moto's."""
    RDSResponse.describe_db_engine_versions = _describe_db_engine_versions
