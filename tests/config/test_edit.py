"""get, set, add and del on the text of a file: docs/tinc-program.md, "get, set, add and del"."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytinc.config.edit import EditResult, add_value, delete_values, get_values, replace_values, set_value
from pytinc.config.parser import parse_text
from pytinc.config.variables import VARIABLES, lookup
from pytinc.errors import ConfigError

KEY = "-----BEGIN ED25519 PUBLIC KEY-----\nPort = 9\n-----END ED25519 PUBLIC KEY-----\n"
VALUES = st.from_regex(r"[!-~]([ -~]{0,30}[!-~])?", fullmatch=True).filter(lambda v: not v.startswith("="))
LINES = st.lists(
    st.sampled_from(
        ["", "# comment", " Port = 7", "Port = 1", "port=2", "PORT 3", "Subnet = 10.0.0.1", "ConnectTo = b"]
    )
)


class TestGet:
    def test_every_matching_line_counts_in_file_order(self) -> None:
        text = "Subnet = 10.0.0.0/8\nsubnet=10.1.1.1#5 \t\nSUBNET 10.2.0.0/16\r\nSubnetx = 1\n"
        assert get_values(text, "Subnet") == ["10.0.0.0/8", "10.1.1.1#5", "10.2.0.0/16"]

    def test_comments_indented_lines_and_keys_do_not_match(self) -> None:
        assert get_values("#Port = 1\n Port = 2\n" + KEY + "Port = 3", "Port") == ["3"]

    def test_nothing_is_found_in_an_empty_file(self) -> None:
        assert get_values("", "Port") == []

    def test_a_row_of_the_table_works_as_well_as_its_name(self) -> None:
        variable = lookup("port")
        assert variable is not None
        assert get_values("pOrT = 5", variable) == ["5"]

    def test_an_unknown_variable_is_found_without_regard_to_case(self) -> None:
        assert get_values("quux = 1\n", "Quux") == ["1"]


class TestSet:
    def test_a_new_variable_is_appended(self) -> None:
        assert set_value("Name = a\n", "mode", "switch") == EditResult(
            "Name = a\nMode = switch\n", (), changed=True
        )

    def test_a_missing_newline_is_added_first(self) -> None:
        assert set_value("Name = a", "Mode", "switch").text == "Name = a\nMode = switch\n"

    def test_the_first_line_is_replaced_and_further_ones_dropped(self) -> None:
        text = "mode = hub\n# note\nMode=router\n" + KEY + "MODE x"
        result = set_value(text, "MODE", "Switch")
        assert result == EditResult("Mode = Switch\n# note\n" + KEY, (), changed=True)

    def test_losing_values_of_a_multi_valued_variable_gives_a_warning(self) -> None:
        result = set_value("ConnectTo = b\nConnectTo = D\nConnectTo = c\n", "ConnectTo", "d")
        assert result.text == "ConnectTo = d\n"
        assert result.warnings == ("Warning: removing ConnectTo = b", "Warning: removing ConnectTo = c")

    def test_a_value_that_is_there_already_changes_nothing(self) -> None:
        assert set_value("Mode = switch\n", "Mode", "switch") == EditResult(
            "Mode = switch\n", (), changed=False
        )

    def test_an_unknown_variable_keeps_its_spelling_and_gives_no_warning(self) -> None:
        assert set_value("quux = 1\nQUUX = 2\n", "Quux", "3") == EditResult("Quux = 3\n", (), changed=True)

    def test_other_lines_are_copied_to_the_byte(self) -> None:
        text = "Name = a  \r\n\tx\n\n#\udcff\u2028\nPort = 1"
        assert set_value(text, "Mode", "hub").text == text + "\nMode = hub\n"

    @pytest.mark.parametrize("value", ["", " ", "a\nName = evil", "a\0b", "x" * 2048])
    def test_a_value_that_would_not_read_back_is_refused(self, value: str) -> None:
        for change in (set_value, add_value):
            for variable in ("Mode", "Subnet", "Quux"):
                with pytest.raises(ConfigError, match="cannot be written"):
                    change("Name = a\n", variable, value)

    @pytest.mark.parametrize("name", ["#Mode", "Mode x", "a=b", "-----BEGIN"])
    def test_a_name_that_would_not_read_back_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigError):
            set_value("", name, "1")


class TestReplace:
    def test_only_the_old_values_give_way(self) -> None:
        text = "ConnectTo = a1\nconnectto=b1\nPort = 1\nConnectTo = a2\n"
        result = replace_values(text, "ConnectTo", " a3 ", lambda value: value.startswith("a"))
        assert result.text == "ConnectTo = a3\nconnectto=b1\nPort = 1\n"
        assert (result.warnings, result.changed) == ((), True)

    def test_without_an_old_value_a_line_is_appended(self) -> None:
        result = replace_values("ConnectTo = b", "connectto", "a", lambda value: False)
        assert result.text == "ConnectTo = b\nConnectTo = a\n"

    def test_the_same_value_changes_nothing(self) -> None:
        assert not replace_values("ConnectTo = a\n", "ConnectTo", "a", lambda value: True).changed


class TestAdd:
    def test_another_value_of_a_multi_valued_variable_is_appended(self) -> None:
        result = add_value("ConnectTo = b\nMode = hub", "connectto", "c")
        assert result == EditResult("ConnectTo = b\nMode = hub\nConnectTo = c\n", (), changed=True)

    def test_the_same_value_in_another_case_is_there_already(self) -> None:
        assert add_value("ConnectTo = b", "ConnectTo", "B") == EditResult("ConnectTo = b", (), changed=False)

    def test_a_single_valued_variable_is_set_with_a_warning(self) -> None:
        result = add_value("Mode = hub\nMode = SWITCH\n", "Mode", "switch")
        assert result == EditResult("Mode = switch\n", ("Warning: removing Mode = hub",), changed=True)

    def test_an_unknown_variable_counts_as_multi_valued(self) -> None:
        assert add_value("Quux = 1\n", "Quux", "2").text == "Quux = 1\nQuux = 2\n"


class TestDelete:
    def test_without_a_value_every_line_goes(self) -> None:
        result = delete_values("Port = 1\nName = a\nport 2\n" + KEY.rstrip("\n"), "PORT")
        assert result == EditResult("Name = a\n" + KEY, (), changed=True)

    def test_with_a_value_only_lines_that_equal_it_go(self) -> None:
        text = "ConnectTo = b\nConnectTo = bb\nConnectTo = B\n"
        assert delete_values(text, "ConnectTo", "b").text == "ConnectTo = bb\n"

    def test_the_file_is_untouched_if_nothing_matches(self) -> None:
        assert delete_values("Port = 1", "Port", "2") == EditResult("Port = 1", (), changed=False)
        assert delete_values("Port = 1", "Mode") == EditResult("Port = 1", (), changed=False)


def lines_of(text: str, variable: str) -> list[str]:
    entries, _ = parse_text(text, "file")
    return [entry.value for entry in entries if entry.variable.lower() == variable.lower()]


@given(LINES, st.sampled_from([v.name for v in VARIABLES.values()]), VALUES)
def test_set_values_are_those_that_the_daemon_reads_and_get_shows(
    lines: list[str], variable: str, value: str
) -> None:
    result = set_value("\n".join(lines), variable, value)
    assert get_values(result.text, variable) == [value]
    assert lines_of(result.text, variable) == [value]


@given(LINES, VALUES)
def test_adding_twice_is_adding_once(lines: list[str], value: str) -> None:
    before = "\n".join(lines)
    once = add_value(before, "Subnet", value)
    assert any(v.lower() == value.lower() for v in get_values(once.text, "Subnet"))
    assert not add_value(once.text, "Subnet", value).changed


@given(LINES, VALUES)
def test_deleting_undoes_adding(lines: list[str], value: str) -> None:
    before = "".join(f"{line}\n" for line in lines)
    assume(value.lower() not in [v.lower() for v in get_values(before, "Subnet")])
    assert delete_values(add_value(before, "Subnet", value).text, "Subnet", value).text == before


@given(st.text(), st.text())
def test_any_text_can_be_edited(text: str, value: str) -> None:
    get_values(text, "Port")
    assert get_values(delete_values(text, "Port").text, "Port") == []
    for change in (set_value, add_value):
        try:
            change(text, "Port", value)
        except ConfigError:
            continue
