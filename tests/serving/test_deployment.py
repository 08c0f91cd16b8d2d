"""The Dockerfile and the compose file, as far as they can be tried without Docker."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from documents.blocks import read_commands
from documents.test_commands import parse

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

if sys.version_info >= (3, 11):
    import tomllib


def instructions():
    """The Dockerfile's instructions: a word and the rest of the line."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def pip_commands():
    """What pip does in the image, without what is of images alone."""
    for word, rest in instructions():
        if word == "RUN" and rest.startswith("pip "):
            plain = re.sub(r"\$\{TORCH_INDEX.*?\} ", "", rest)
            yield tuple(part for part in shlex.split(plain) if part != "--no-cache-dir")


def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_all_that_is_copied_is_there():
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY"]
    sources = [source for several in copied for source in several]
    assert "src" in sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is of Python 3.11")
def test_the_build_has_all_that_the_package_needs():
    """What pyproject.toml reads when a wheel is built has to be in the image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    copied = {
        source for word, rest in instructions() if word == "COPY" for source in rest.split()[:-1]
    }
    assert {project["readme"], *project["license-files"], "pyproject.toml", "src"} <= copied


def test_packages_are_installed_as_the_documents_say():
    documented = [
        command.words
        for command in read_commands("docs/serving.md")
        if command.starts_with("pip install --constraint")
    ]
    assert list(pip_commands()) == documented


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is of Python 3.11")
def test_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"\.\[([\w,]+)\]", (DEPLOY / "Dockerfile").read_text())
    assert {name for names in named for name in names.split(",")} <= {
        *extras["optional-dependencies"]
    }


def test_commands_are_those_of_the_command_line(tmp_path):
    words = dict(instructions())
    assert json.loads(words["ENTRYPOINT"]) == ["samkit"]
    parse(json.loads(words["CMD"]))
    services = compose()["services"]
    for name in ("model", "studio"):
        parse(services[name]["command"])


def test_the_proxy_knows_the_services_and_their_networks():
    services, document = compose()["services"], compose()
    upstreams = re.findall(r"reverse_proxy (\w+):8000", (DEPLOY / "Caddyfile").read_text())
    assert sorted(upstreams) == ["model", "studio"]
    assert {*upstreams} <= services.keys()
    subnet = document["networks"]["default"]["ipam"]["config"][0]["subnet"]
    studio = services["studio"]["command"]
    assert studio[studio.index("--trusted-proxy") + 1] == subnet
    named = {
        volume.split(":")[0]
        for service in services.values()
        for volume in service["volumes"]
        if not volume.startswith(".")
    }
    assert named == {*document["volumes"]}
    assert not any("ports" in services[name] for name in ("model", "studio", "db"))
