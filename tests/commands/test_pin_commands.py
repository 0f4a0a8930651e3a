"""`pin` refuses repositories without a package that the scripts of the first boot need."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from build.firstboot.packages import COMMANDS
from tests.commands.conftest import Project
from tests.snapshot.served import apk_package, made, publish, scripted

TAIL = "v3.19/main"


@pytest.mark.parametrize("absent", COMMANDS)
def test_a_closure_without_a_package_of_the_scripts_is_refused(
    absent: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = SimpleNamespace(engine=scripted(Path(), ()))
    monkeypatch.setattr("ci.commands.pin.choose_engine", lambda *_, **__: engine)
    served = project.folder.parent / "served"
    names = {*COMMANDS, "hello", "e2fsprogs"} - {absent}
    publish(served, apk_package(), *(made(name) for name in sorted(names)), tail=TAIL)
    project.configure(served / TAIL, packages=("hello",))
    refused = project.ci("pin")
    assert refused.status != 0
    assert absent in refused.err
    assert not (project.folder / "release.lock").exists()
