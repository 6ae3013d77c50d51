"""The grammar of configuration files, and their order: docs/tinc-program.md."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.config.parser import Entry, Pool, parse_option, parse_text
from pytinc.errors import ConfigError

CONF = "/etc/tinc/tinc.conf"


def pairs(text: str) -> list[tuple[str, str]]:
    entries, problem = parse_text(text, CONF)
    assert problem is None
    return [(entry.variable, entry.value) for entry in entries]


def pool(text: str) -> Pool:
    entries, problem = parse_text(text, CONF)
    assert problem is None
    return Pool(entries)


class TestGrammar:
    @pytest.mark.parametrize("line", ["Mode=switch", "Mode switch", "Mode = switch", "Mode\t=\tswitch \t"])
    def test_blanks_and_one_equals_sign_separate_name_and_value(self, line: str) -> None:
        assert pairs(line) == [("Mode", "switch")]

    @pytest.mark.parametrize(
        ("line", "value"),
        [
            ("a == b", "= b"),
            ('a = "b"', '"b"'),
            ("a = b # c", "b # c"),
            ("a = b  c", "b  c"),
            ("a = \\n", "\\n"),
        ],
    )
    def test_everything_after_the_separator_is_the_value(self, line: str, value: str) -> None:
        assert pairs(line) == [("a", value)]

    def test_empty_lines_and_comments_are_ignored(self) -> None:
        assert pairs("\n\r\n# Name = x\n#\nName = alpha") == [("Name", "alpha")]

    def test_crlf_ends_a_line_like_lf(self) -> None:
        assert pairs("Name = alpha\r\nMode = hub\r\n") == [("Name", "alpha"), ("Mode", "hub")]

    def test_keys_are_skipped(self) -> None:
        text = "Port = 1\n-----BEGIN RSA KEY-----\nMIIB\nName =\n-----END RSA KEY-----\nSubnet = x\n"
        assert pairs(text) == [("Port", "1"), ("Subnet", "x")]

    def test_a_key_without_end_hides_the_rest_of_the_file(self) -> None:
        assert pairs("Port = 1\n-----BEGIN X\nMode = hub\n") == [("Port", "1")]

    def test_a_line_with_leading_blanks_has_no_name(self) -> None:
        assert pairs(" Mode = hub") == [("", "Mode = hub")]

    @pytest.mark.parametrize(("line", "name"), [("Mode", "Mode"), ("Mode =", "Mode"), ("Mode = \t", "Mode")])
    def test_a_missing_value_ends_the_reading(self, line: str, name: str) -> None:
        entries, problem = parse_text(f"Name = alpha\n{line}\nPort = 1\n", CONF)
        assert [entry.variable for entry in entries] == ["Name"]
        assert problem is not None
        assert str(problem) == f"No value for variable `{name}' on line 2 while reading config file {CONF}"
        assert (problem.path, problem.line) == (CONF, 2)

    def test_a_line_of_white_space_is_a_missing_value_without_a_name(self) -> None:
        _, problem = parse_text(" \t\n", CONF)
        assert str(problem) == f"No value for variable `' on line 1 while reading config file {CONF}"

    def test_a_long_line_is_cut_and_goes_on_as_a_new_one(self) -> None:
        head = "a = " + "x" * 2044
        assert pairs(head + "Mode = hub\nb = 1") == [("a", "x" * 2044), ("Mode", "hub"), ("b", "1")]
        assert pairs(head + "\nb = 1") == [("a", "x" * 2044), ("b", "1")]

    def test_a_zero_byte_ends_the_line(self) -> None:
        assert pairs("Device = a\0b\n\0\0\0\nc = 1") == [("Device", "a"), ("c", "1")]

    def test_entries_know_their_place(self) -> None:
        entries, _ = parse_text("# first\nName = alpha\n", CONF)
        assert entries == [Entry("Name", "alpha", CONF, 2)]
        assert entries[0].where == f"{CONF} line 2"

    @given(st.text(), st.text(alphabet="ab=# \t\r\n-BEGIN\0\x85\u2028"))
    def test_any_text_is_read_without_an_exception(self, anything: str, dense: str) -> None:
        for text in (anything, dense, "-----BEGIN" + dense):
            entries, problem = parse_text(text, CONF)
            assert problem is None or isinstance(problem, ConfigError)
            assert all(entry.value and "\n" not in entry.value for entry in entries)

    @given(
        st.lists(
            st.tuples(
                st.from_regex(r"[A-Za-z0-9]+", fullmatch=True), st.from_regex(r"[!-<>-~]+", fullmatch=True)
            )
        )
    )
    def test_written_values_are_read_back(self, wanted: list[tuple[str, str]]) -> None:
        assert pairs("".join(f"{name} = {value}\n" for name, value in wanted)) == wanted


class TestOptions:
    def test_an_option_belongs_to_the_server_or_to_a_node(self) -> None:
        assert parse_option("Mode=switch", 1) == (None, Entry("Mode", "switch", None, 1))
        assert parse_option("beta.Port = 1", 2) == ("beta", Entry("Port", "1", None, 2))

    def test_a_dot_in_the_value_means_nothing(self) -> None:
        assert parse_option("Subnet=10.0.0.1", 1) == (None, Entry("Subnet", "10.0.0.1", None, 1))

    @pytest.mark.parametrize("text", ["Mode", "Mode=", "Mode ="])
    def test_an_option_without_a_value_is_an_error(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"^No value for variable `Mode' in command line option 3$"):
            parse_option(text, 3)


class TestPool:
    def test_names_are_compared_without_case(self) -> None:
        both = pool("connectto = a\nCONNECTTO = b\n")
        assert [entry.value for entry in both.all("ConnectTo")] == ["a", "b"]
        assert both.first("ConnectTo") == Entry("connectto", "a", CONF, 1)
        assert both.first("Mode") is None
        assert both.all("Mode") == []

    def test_the_lower_line_number_wins_between_files(self) -> None:
        entries = [Entry("Mode", "a", CONF, 4), Entry("Mode", "b", "/etc/tinc/conf.d/z.conf", 1)]
        assert [entry.value for entry in Pool(entries).all("mode")] == ["b", "a"]

    def test_the_file_name_decides_between_equal_lines(self) -> None:
        entries = [Entry("Mode", "t", CONF, 1), Entry("Mode", "c", "/etc/tinc/conf.d/z.conf", 1)]
        assert [entry.value for entry in Pool(entries).all("mode")] == ["c", "t"]

    def test_the_command_line_comes_first_in_its_own_order(self) -> None:
        entries = [Entry("Mode", "file", CONF, 1), Entry("Mode", "o2", None, 2), Entry("Mode", "o1", None, 1)]
        assert [entry.value for entry in Pool(entries).all("mode")] == ["o1", "o2", "file"]
