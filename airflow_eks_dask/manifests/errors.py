"""What can go wrong with manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class ManifestError(Exception):
    """Manifests can't be applied, or do not come about; the message says which, why and what to do."""

    @classmethod
    def of(cls, what: str, problems: Sequence[str]) -> ManifestError:
        """Return one error that tells all problems."""
        if len(problems) == 1:
            return cls(f"{what}: {problems[0]}")
        return cls("\n".join([f"{what}:", *(f"- {each}" for each in problems)]))
