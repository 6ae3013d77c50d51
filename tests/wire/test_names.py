"""Node and network names: docs/protocol-meta.md, "Names"; docs/tinc-program.md, "Paths"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.errors import DecodeError
from pytinc.wire.names import (
    MAX_NAME_LENGTH,
    is_safe_netname,
    is_valid_name,
    is_valid_netname,
    parse_name,
)


@pytest.mark.parametrize("name", ["a", "alpha", "Node_1", "_", "0", "x" * MAX_NAME_LENGTH])
def test_letters_digits_and_underscores_make_a_name(name: str) -> None:
    assert is_valid_name(name)
    assert parse_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "a-b", "a.b", "a b", "a\n", "../x", "größe", "١", "a\0", "$HOST", "x" * (MAX_NAME_LENGTH + 1)],
)
def test_anything_else_is_not_a_name(name: str) -> None:
    assert not is_valid_name(name)
    with pytest.raises(DecodeError):
        parse_name(name)


@given(st.text())
def test_a_valid_name_can_never_lead_out_of_a_directory(name: str) -> None:
    if is_valid_name(name):
        assert name.isascii()
        assert not set(name) & set("/.\\\0 \n")


@pytest.mark.parametrize("name", ["vpn", "my-net", "a.b", "a b", "größe"])
def test_a_directory_name_can_be_a_network_name(name: str) -> None:
    assert is_valid_netname(name)


@pytest.mark.parametrize("name", ["", ".", ".vpn", "..", "a/b", "a\\b", "a\nb", "a\x7f"])
def test_a_network_name_has_no_leading_dot_slash_or_control_character(name: str) -> None:
    assert not is_valid_netname(name)
    assert not is_safe_netname(name)


@pytest.mark.parametrize("character", list(' $%<>:`"|?*'))
def test_characters_of_the_shell_make_a_valid_network_name_unsafe(character: str) -> None:
    assert is_valid_netname(f"a{character}b")
    assert not is_safe_netname(f"a{character}b")
    assert is_safe_netname("vpn-1.test")
