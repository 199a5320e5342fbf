"""What an operator writes into its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest
    from airflow.sdk import BaseOperator


class Said(list[str]):
    """Stands in for an operator's logger; its items are the lines."""

    @classmethod
    def by(cls, operator_class: type[BaseOperator], monkeypatch: pytest.MonkeyPatch) -> Said:
        """Listen to all operators of a class."""
        said = cls()
        monkeypatch.setattr(operator_class, "log", said)
        return said

    def info(self, message: str, *arguments: object) -> None:
        self.append(message % arguments)

    warning = info

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(self)
