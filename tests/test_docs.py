"""README and docs: short enough, and every link and module that they name exists."""

import re
from pathlib import Path
from pydoc import locate

import pytest
import yaml

from kd_plugins.cli.parser import build_parser
from kd_plugins.methods_table import with_table

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def relative_links(text):
    return [link for link in LINK.findall(CODE.sub("", text)) if not re.match(r"[a-z]+:|#", link)]


def test_the_readme_has_at_most_150_lines():
    assert len(README.read_text().splitlines()) <= 150


def test_links_in_code_are_no_links():
    assert relative_links("[a](b.md#c) [d](https://e) `[f](g)` [h](#i)\n```\n[j](k)\n```\n") == ["b.md#c"]


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files(page):
    missing = [link for link in relative_links(page.read_text()) if not (page.parent / link.split("#")[0]).is_file()]
    assert not missing


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert listed == {page.relative_to(ROOT / "docs").as_posix() for page in PAGES}


@pytest.mark.parametrize("page", sorted((ROOT / "docs/reference").glob("*.md")), ids=lambda page: page.stem)
def test_the_reference_names_what_exists(page):
    named = re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)
    assert named
    for name in named:
        assert locate(name), f"{page.name} names {name}"


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_yaml_blocks_can_be_read(page):
    for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        assert isinstance(yaml.safe_load(block), dict)


@pytest.mark.parametrize("path", ["README.md", "docs/methods.md"])
def test_the_table_of_methods_is_that_of_the_records(path):
    text = (ROOT / path).read_text()
    assert text == with_table(text), "run python -m kd_plugins.methods_table README.md docs/methods.md"
    assert "`nkd`" in text


def test_the_start_page_lists_every_command_with_its_help():
    listed = dict(re.findall(r"^\| `kd-plugins (\w+)` \| (.*) \|$", (ROOT / "docs/index.md").read_text(), re.MULTILINE))
    group = next(action for action in build_parser()._actions if action.choices)
    assert listed == {choice.dest: choice.help for choice in group._choices_actions}
