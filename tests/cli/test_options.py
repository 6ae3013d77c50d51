from __future__ import annotations

import click
import pytest

from pytinc.cli.options import is_host, take_options


def test_options_are_taken_from_anywhere_and_the_other_words_stay() -> None:
    names = ("--address", "--public")
    assert take_options(["--address", "auto", "beta"], names) == (
        ["beta"],
        {"--address": "auto", "--public": None},
    )
    assert take_options(["beta", "--public=x"], names) == (["beta"], {"--address": None, "--public": "x"})
    assert take_options(["--other", "-5"], names)[0] == ["--other", "-5"]


def test_an_option_without_a_value_is_refused() -> None:
    with pytest.raises(click.ClickException, match="--address needs a value"):
        take_options(["beta", "--address"], ("--address",))


def test_text_with_shell_syntax_is_no_host() -> None:
    assert is_host("alpha.example.org")
    assert is_host("2001:db8::1")
    assert not is_host("a b")
    assert not is_host("$(x)")
