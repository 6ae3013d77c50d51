"""The text of system errors in log lines."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pytinc.net.log import reason


def test_the_text_of_a_system_error_has_no_number_and_file() -> None:
    with pytest.raises(OSError) as failure:
        Path("/nonexistent/file").read_text()
    assert reason(failure.value) == "No such file or directory"


def test_a_name_that_cannot_be_resolved_has_a_text_as_well() -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert reason(error) == "Name or service not known"


@pytest.mark.parametrize("error", [OSError("something odd"), TimeoutError("something odd")])
def test_an_error_without_a_number_keeps_its_own_text(error: OSError) -> None:
    assert reason(error) == "something odd"


def test_a_name_that_cannot_be_encoded_has_no_codec_in_its_error() -> None:
    with pytest.raises(UnicodeError) as failure:
        socket.getaddrinfo("a..b", None)
    assert reason(failure.value) == "no name can be like this"
