"""QEMU's arguments for the private cards and the config drive of a scenario."""

from pathlib import Path

from ci.boot.machine import escape_commas
from ci.boot.metadata import Interface, Metadata
from ci.boot.scenarios.drives import make_config_drive
from ci.boot.scenarios.scenarios import PRIVATE, TWELVE, Boot


def extra_arguments(boot: Boot, metadata: Metadata, scratch: Path) -> tuple[str, ...]:
    """Return QEMU's arguments for a second network card and a config drive."""
    cards = {"second": (PRIVATE,), "twelve": TWELVE}.get(boot.private_card, ())
    arguments = card_arguments(*cards)
    if boot.config_drive:
        image = scratch / "config.iso"
        make_config_drive(image, metadata)
        path = escape_commas(str(image.absolute()))
        arguments += ("-drive", f"if=none,id=config,format=raw,read-only=on,file={path}")
        arguments += ("-device", "virtio-blk-pci,drive=config")
    return arguments


def card_arguments(*cards: Interface) -> tuple[str, ...]:
    """Return QEMU's arguments for private cards: a network without other machines."""
    return tuple(
        word
        for number, card in enumerate(cards, start=1)
        for word in (
            *("-netdev", f"hubport,id=n{number},hubid=1"),
            *("-device", f"virtio-net-pci,netdev=n{number},mac={card.mac},romfile="),
        )
    )
