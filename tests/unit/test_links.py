"""What the pages point at is there."""

import re

import pytest

from tests.factories import REPOSITORY

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *REPOSITORY.glob("results/*.md")])


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            path, _, anchor = target.partition("#")
            linked = (page.parent / path).resolve() if path else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_are_there(page):
    if page.name == "CHANGELOG.md":
        return  # it tells of former paths, too
    for path in re.findall(r"`(tests/[a-z0-9_/]+\.py)`", page.read_text()):
        assert (REPOSITORY / path).is_file(), path


def test_every_page_is_on_the_way_through_them():
    index = REPOSITORY / "docs" / "index.md"
    linked = set(re.findall(r"\((\w+\.md)\)", index.read_text()))
    assert linked == {path.name for path in index.parent.glob("*.md")} - {"index.md"}
