"""The fixture `project` of the commands' tests."""

from tests.commands.conftest import project

__all__ = ["project"]
