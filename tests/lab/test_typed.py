from __future__ import annotations

from pathlib import Path

import pytest

from pytinc.lab.typed import (
    LONG_PAGES,
    PAGES,
    Command,
    DocumentError,
    before,
    blocks,
    commands,
    fill,
    learn,
    matches,
    run_blocks,
    unmarked,
    up_to,
    without_answers,
)

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NOT_TYPED = {
    "deployment.md": "most of it needs systemd, Docker or Prometheus, and has tests of its own",
    "virtual-ip.md": "interop/test_virtual_ips.py and interop/test_shared_address.py do what it says",
    "ansible.md": "make ansible does what it says, with a real sshd",
    "compatibility.md": "shows no commands",
    "json.md": "shows output only; tests/cli compares it",
    "glossary.md": "shows no commands",
    "performance.md": "shows benchmarks, which take long and measure",
    "packages.md": "interop/test_deb.py and interop/test_release.py do what it says, on hosts that boot",
    "view.md": "needs a browser; interop/test_view.py has one",
    "howto.zh.md": "has the blocks of howto.md",
}
"""Pages of the site's section for operators whose blocks no test types, with the reason."""


TYPED_ELSEWHERE = ("containers.md",)
"""Pages that interop/test_containers.py types, with a Docker engine."""


def operator_pages() -> list[str]:
    """Return the pages in docs/ that mkdocs.yml lists for operators."""
    section = (ROOT / "mkdocs.yml").read_text().split("- For operators:")[1].split("- For developers:")[0]
    names = [line.rpartition(": ")[2] for line in section.split("\n") if line.endswith(".md")]
    return [name for name in names if (DOCS / name).exists()]


@pytest.mark.parametrize("page", operator_pages())
def test_each_block_for_operators_is_typed_or_says_why_not(page: str) -> None:
    if page in NOT_TYPED:
        return
    assert page in (*PAGES, *LONG_PAGES, *TYPED_ELSEWHERE), "interop/test_typed.py does not type this page"
    text = (DOCS / page).read_text()
    assert unmarked(text) == []
    assert [command for block in run_blocks(text) for command in commands(block)]


def test_the_chinese_howto_has_the_commands_of_the_english_one() -> None:
    english, chinese = (
        [(block.word, block.mark, block.lines) for block in blocks((DOCS / name).read_text())]
        for name in ("howto.md", "howto.zh.md")
    )
    assert english == chinese


PAGE = """
# A page

<!-- fails -->

```console
a# one \\
    two
b-2# cat > file <<'EOF'
a# is text here
EOF
b-2# three
printed
...
```

<!-- not run: no systemd -->
```sh
systemctl start x
```

Words.

```sh
pytinc start
```

```text
pytinc -n x get Mode
```

```ini
Mode = switch
```
"""


def test_commands_hosts_and_output_are_found() -> None:
    (block,) = run_blocks(PAGE)
    assert block.mark == "fails"
    assert commands(block) == [
        Command(7, "a", "one \\\n    two", ()),
        Command(9, "b-2", "cat > file <<'EOF'\na# is text here\nEOF", ()),
        Command(12, "b-2", "three", ("printed", "...")),
    ]


def test_blocks_with_commands_need_hosts_or_a_reason() -> None:
    assert unmarked(PAGE) == [25, 29]


def test_what_is_no_block_of_commands_is_refused() -> None:
    with pytest.raises(DocumentError, match="line 2: the block has no end"):
        list(blocks("x\n```console\na# b\n"))
    (block,) = blocks("```console\nls\n```\n")
    with pytest.raises(DocumentError, match="line 2: no prompt"):
        commands(block)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["a"], "a\n"),
        (["a"], "a"),
        (["a ... c", "d"], "a b c\nd\n"),
        (["...", "d"], "d\n"),
        (["...", "d", "..."], "a\nb\nd\nx\n"),
        (["time=..."], "time=3 ms\n"),
    ],
)
def test_output_matches_what_is_shown(shown: list[str], printed: str) -> None:
    assert matches(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [(["a"], "b\n"), (["a"], "a\nb\n"), (["a", "..."], "b\na\n"), (["a.c"], "abc\n"), (["x..."], "a\nx\n")],
)
def test_other_output_does_not_match(shown: list[str], printed: str) -> None:
    assert not matches(shown, printed)


def test_answers_are_what_follows_a_question() -> None:
    assert without_answers(["...", "Sure? y", "Done?", "..."]) == (["...", "Sure? Done?", "..."], ["y"])
    assert without_answers(["a", "b? n"]) == (["a", "b? "], ["n"])
    assert without_answers(["is it?", "y"]) == (["is it?", "y"], [])


def test_placeholders_get_what_was_printed_last() -> None:
    values: dict[str, str] = {}
    learn("10.1.1.10 dev mynet lladdr 02:00:00:00:00:01 REACHABLE\n", values)
    learn("Owner:        node_2\n", values)
    assert fill("info MAC URL OWNER", values) == "info 02:00:00:00:00:01 URL node_2"
    url = "192.0.2.1:655/" + "x" * 48
    learn(f"warning\n{url}\n", values)
    assert fill("join URL", values) == f"join {url}"


def test_a_page_may_go_on_after_a_section_of_another() -> None:
    assert before('# B\n\n<!-- after: quick-start.md, "Two machines" -->\n') == [
        ("quick-start.md", "Two machines")
    ]
    page = "# A\n\n## One\n\n1\n\n## Two\n\n2\n\n## Three\n\n3\n"
    assert up_to(page, "Two") == "# A\n\n## One\n\n1\n\n## Two\n\n2\n\n"
    with pytest.raises(DocumentError, match="no section 'Four'"):
        up_to(page, "Four")
