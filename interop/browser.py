"""Debian's Chromium without a screen, for the tests of the page (`make view-test`)."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from pytinc.lab.node import PATIENCE_S, Kind, wait_until

Chrome: TypeAlias = Any
"""The driver of a browser. selenium is there only for `make view-test`."""

FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en",
)
"""The lab has no way out: the browser must not wait for any."""
SCRIPT_TIMEOUT_S: Final = 120


def is_installed() -> bool:
    """Return whether there is a browser with its driver, and selenium."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return False
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


@contextmanager
def browser(*, width: int = 1280, height: int = 800) -> Iterator[Chrome]:
    """Run a browser with a new profile while the block runs."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(prefix="pytinc-view-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, Service(str(shutil.which("chromedriver"))))
        try:
            driver.set_script_timeout(SCRIPT_TIMEOUT_S)
            set_size(driver, width, height)
            yield driver
        finally:
            driver.quit()


def set_size(driver: Chrome, width: int, height: int) -> None:
    """Give the page this size in CSS pixels, as on a phone if it is narrow."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )


def set_theme(driver: Chrome, theme: str) -> None:
    """Have the system prefer ``light`` or ``dark``."""
    features = [{"name": "prefers-color-scheme", "value": theme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def picture(driver: Chrome, path: Path) -> None:
    """Write a screenshot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(driver.get_screenshot_as_png())


def problems(driver: Chrome) -> list[dict[str, Any]]:
    """Return what the browser complained about: errors of the page, and what its policy has blocked."""
    entries: list[dict[str, Any]] = driver.get_log("browser")
    return [entry for entry in entries if entry["level"] in ("SEVERE", "WARNING")]


# -- the page --


class Page:
    """The page of `pytinc view` in a browser."""

    def __init__(self, driver: Chrome, url: str, server: subprocess.Popen[str]) -> None:
        self.driver = driver
        self.url = url
        self.server = server

    @property
    def origin(self) -> str:
        """The URL without the token."""
        return self.url.partition("?")[0]

    def js(self, code: str, *arguments: Any) -> Any:
        """Run statements in the page and return what they return."""
        return self.driver.execute_script(code, *arguments)

    def wait(self, code: str, what: str, timeout: float = PATIENCE_S) -> None:
        """Wait until an expression in the page is true."""
        wait_until(lambda: self.js(f"return {code}"), timeout, what, interval=0.1)

    def open(self, view: str) -> None:
        """Choose a view by its tab."""
        self.js("document.getElementById(arguments[0]).click()", f"tab-{view}")

    def text(self, selector: str) -> str:
        """Return the text that is shown in an element."""
        return str(self.js("return document.querySelector(arguments[0]).innerText", selector))

    def is_live(self) -> bool:
        """Return whether the page says that what it shows is true now."""
        return bool(self.js("return document.body.dataset.live === 'live'"))

    def wait_live(self) -> None:
        """Wait until the page shows a mesh."""
        self.wait(
            "document.body.dataset.live === 'live' && !!window.pytinc.store.picture", "the page is live"
        )


@contextmanager
def viewing(pidfile: Path, *words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `pytinc view` for a daemon while the block runs; yields the URL and the process."""
    program = Kind.PY.programs()[0]
    process = subprocess.Popen(
        [program, f"--pidfile={pidfile}", "view", "--listen", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), process.communicate()[1]
        yield url, process
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in errors, errors


@contextmanager
def page(pidfile: Path, *, width: int = 1280, height: int = 800) -> Iterator[Page]:
    """Open the page of a daemon in a browser while the block runs."""
    with viewing(pidfile) as (url, process), browser(width=width, height=height) as driver:
        driver.get(url)
        made = Page(driver, url, process)
        made.wait_live()
        yield made
