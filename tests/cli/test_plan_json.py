import json
import re
from pathlib import Path

from graphmerge.reporting.plan_json import JSON_FORMAT_VERSION

DOCUMENT = Path(__file__).parents[2] / "docs" / "plan-json.md"


def test_the_fields_add_up(folder):
    result = folder.invoke("plan", "ties.yml", "--memory-budget", "2GiB", "--json")
    content = json.loads(result.stdout)
    parts = ("reserved_bytes", "live_bytes", "workspace_bytes", "buffer_bytes")
    assert content["predicted_peak_bytes"] == sum(content[part] for part in parts)
    assert content["budget_bytes"] == 2 * 2**30
    assert content["fits"] is True
    assert content["read_bytes"] == sum(model["read_bytes"] for model in content["inputs"])
    assert content["read_bytes"] == sum(unit["read_bytes"] for unit in content["units"])
    assert content["passes"] == len(content["moments"])
    assert sum(len(group["names"]) for group in content["merged"]) == content["tensors"] == 39


def test_a_plan_that_does_not_fit_is_printed_as_json_too(folder):
    result = folder.invoke("plan", "ties.yml", "--memory-budget", "1MiB", "--json")
    assert result.exit_code == 3
    content = json.loads(result.stdout)
    assert content["fits"] is False
    assert content["least_budget_bytes"] > content["budget_bytes"]


def test_every_field_is_documented_and_every_documented_field_exists(folder):
    content = json.loads(folder.invoke("plan", "ties.yml", "--json").stdout)
    assert content["format_version"] == JSON_FORMAT_VERSION
    text = DOCUMENT.read_text()
    sections = {"plan": content} | {
        name: content[name][0] for name in ("inputs", "units", "merged", "moments")
    }
    for name, fields in sections.items():
        section = text.split(f"## `{name}", 1)[1].split("\n## ", 1)[0]
        assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == set(fields), name
