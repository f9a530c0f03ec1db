"""Damage: why an image file gives no pixels."""

from resomap.core.errors import PermanentFailure


class DamagedImage(PermanentFailure):
    """An image file that gives no pixels, with the kind of damage and its detail."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.kind} ({self.detail})"
