"""What docs/hub.md says is so."""

import re
import shlex
from pathlib import Path

import pytest
from console_blocks import commands, missing_lines
from hub_places import MODELS

PAGE = Path(__file__).parents[2] / "docs" / "hub.md"
TEXT = PAGE.read_text()


@pytest.fixture
def reader(place, models, with_token):
    """A folder with the recipe of the page, and a server with its models."""
    for name in MODELS:
        place.hub.add(f"acme/{name}", models / name)
    ((name, recipe),) = re.findall(
        r"Save this as `([^`]+)`:\n\n```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL
    )
    (place.path / name).write_text(recipe)
    return place


def test_every_command_works_and_prints_what_the_page_shows(reader, invoke):
    found = commands(TEXT)
    assert len(found) == TEXT.count("\n$ ")
    for command in found:
        program, *arguments = shlex.split(command.text)
        assert program == "graphmerge"
        result = invoke(*arguments)
        assert result.exit_code == 0, (command.text, result.output)
        assert missing_lines(command.output, result.stdout) == [], (command.text, result.stdout)
    assert reader.hub.repositories["acme/merged"].is_private


def test_every_block_is_of_a_kind_that_is_run():
    assert set(re.findall(r"^```(\w+)$", TEXT, re.MULTILINE)) == {"yaml", "console"}


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
