"""The table of commands: names, where their code is, how many words they take, their help.

See docs/tinc-program.md, "Command line".

The grammar (`pytinc.cli.app`), the shell and the help text read it. A command's module is imported only when
the command runs, so that a light command starts quickly.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, cast

if TYPE_CHECKING:
    from pytinc.cli.session import Session

Run: TypeAlias = "Callable[[Session, list[str]], int]"
"""A command: takes a session and words, returns an exit status."""

ANY: Final = 1 << 30
"""No limit for the number of words."""
JSON: Final = "--json"
"""The word that asks for JSON output (docs/json.md)."""


class Json(Enum):
    """Where on its command line a command accepts the option ``--json``; elsewhere it is a word."""

    NOWHERE = 0
    FIRST = 1
    """Directly after the command: the words that follow are free text."""
    ANYWHERE = 2


class Command(NamedTuple):
    """One row of the table. ``help`` holds (left column, right column) pairs; if empty, the help omits it."""

    function: str
    """``MODULE.FUNCTION`` below `pytinc.cli`."""
    least: int = 0
    most: int = 0
    help: tuple[tuple[str, str], ...] = ()
    json: Json = Json.NOWHERE
    own_help: bool = False
    """``--help`` is a word for the program that the command starts."""

    def take_json(self, words: list[str]) -> tuple[bool, list[str]]:
        """Return whether ``--json`` is given, and the other words."""
        if self.json is Json.FIRST and words[:1] == [JSON]:
            return True, words[1:]
        if self.json is Json.ANYWHERE and JSON in words:
            return True, [word for word in words if word != JSON]
        return False, words

    def wrong_count(self, words: list[str]) -> str | None:
        """Return tinc's complaint about the number of words, or None if it is right."""
        if self.least <= len(words) <= self.most:
            return None
        if self.least == self.most != 0 or (self.most == ANY and self.least):
            return "Invalid number of arguments."
        return "Too many arguments!" if len(words) > self.most else "Not enough arguments!"

    def load(self) -> Run:
        """Import the module and return the function that runs the command."""
        module, _, name = self.function.partition(".")
        return cast(Run, getattr(importlib.import_module(f"pytinc.cli.{module}"), name))


_DUMP: Final = Command(
    "dump.dump",
    0,
    ANY,
    (
        ("dump", "Dump a list of one of the following things:"),
        ("  [reachable] nodes", "- all known nodes in the VPN"),
        ("  edges", "- all known connections in the VPN"),
        ("  subnets", "- all known subnets in the VPN"),
        ("  connections", "- all meta connections with ourself"),
        ("  shared", "- addresses that several nodes hold, and others in use"),
        ("  [di]graph", "- graph of the VPN in dotty format"),
        ("  invitations", "- outstanding invitations"),
    ),
    Json.ANYWHERE,
)

COMMANDS: Final[dict[str, Command]] = {
    "init": Command(
        "init.init",
        0,
        ANY,
        (
            ("init [name]", "Create initial configuration files."),
            ("  --address ADDR/PREFIX", "- with this address of the VPN on the interface"),
            ("  --public HOST", "- with the address by which others reach this node"),
        ),
    ),
    "get": Command(
        "variables.get", 1, ANY, (("get VARIABLE", "Print current value of VARIABLE"),), Json.FIRST
    ),
    "set": Command("variables.set_", 1, ANY, (("set VARIABLE VALUE", "Set VARIABLE to VALUE"),)),
    "add": Command("variables.add", 1, ANY, (("add VARIABLE VALUE", "Add VARIABLE with the given VALUE"),)),
    "del": Command(
        "variables.del_",
        1,
        ANY,
        (("del VARIABLE [VALUE]", "Remove VARIABLE [only ones with matching VALUE]"),),
    ),
    "config": Command("variables.config", 1, ANY),
    "start": Command(
        "process.start", 0, ANY, (("start [pytincd options]", "Start pytincd."),), own_help=True
    ),
    "stop": Command("process.stop", 0, 0, (("stop", "Stop pytincd."),)),
    "restart": Command(
        "process.restart", 0, ANY, (("restart [pytincd options]", "Restart pytincd."),), own_help=True
    ),
    "reload": Command(
        "requests.reload", 0, 0, (("reload", "Partially reload configuration of running pytincd."),)
    ),
    "pid": Command("requests.pid", 0, 0, (("pid", "Show PID of currently running pytincd."),)),
    "generate-keys": Command(
        "keys.generate_keys", 0, 0, (("generate-keys", "Generate a new Ed25519 public/private key pair."),)
    ),
    "generate-ed25519-keys": Command("keys.generate_keys", 0, 0, (("generate-ed25519-keys", "The same."),)),
    "dump": _DUMP,
    "list": _DUMP._replace(help=()),
    "info": Command(
        "info.info",
        1,
        1,
        (
            (
                "info NODE|SUBNET|ADDRESS",
                "Give information about a particular NODE, SUBNET or ADDRESS.",
            ),
        ),
        Json.ANYWHERE,
    ),
    "purge": Command("requests.purge", 0, 0, (("purge", "Purge unreachable nodes"),)),
    "debug": Command("requests.debug", 1, 1, (("debug N", "Set debug level"),)),
    "retry": Command("requests.retry", 0, 0, (("retry", "Retry all outgoing connections"),)),
    "connect": Command("requests.connect", 1, 1),
    "disconnect": Command(
        "requests.disconnect", 1, 1, (("disconnect NODE", "Close meta connection with NODE"),)
    ),
    "vip": Command(
        "vip.vip",
        0,
        ANY,
        (
            ("vip [ADDRESS] [--watch]", "Show virtual IPs, or one of them with members and checks, or:"),
            ("  drain", "- have this node serve no virtual IP"),
            ("  undrain", "- have this node serve virtual IPs again"),
            ("  move ADDRESS NODE", "- have NODE serve ADDRESS"),
            ("  freeze ADDRESS", "- let the owner of ADDRESS keep it"),
            ("  thaw ADDRESS", "- let the owner of ADDRESS change again"),
            ("  rebalance ADDRESS", "- share the clients of ADDRESS evenly among its members"),
        ),
        Json.ANYWHERE,
    ),
    "events": Command(
        "events.events",
        0,
        ANY,
        (
            ("events", "Show recent events of the VPN."),
            ("  --follow", "- and what happens from now on"),
            ("  --since NUMBER", "- only what came after the event with this number"),
        ),
        Json.ANYWHERE,
    ),
    "top": Command("top.top", 0, 0, (("top", "Show real-time statistics"),)),
    "view": Command(
        "view.view",
        0,
        ANY,
        (
            ("view", "Show the mesh live in a browser: prints the URL of a page"),
            ("  --listen ADDR[:PORT]", "- at this address of this machine (localhost:6550)"),
            ("  --host NAME", "- also for browsers that ask by this name"),
        ),
    ),
    "pcap": Command(
        "streams.pcap",
        0,
        1,
        (("pcap [snaplen]", "Dump traffic in pcap format [up to snaplen bytes per packet]"),),
    ),
    "log": Command("streams.log", 0, 1, (("log [level]", "Dump log output [up to the specified level]"),)),
    "export": Command(
        "exchange.export", 0, 0, (("export", "Export host configuration of local node to standard output"),)
    ),
    "export-all": Command(
        "exchange.export_all",
        0,
        0,
        (("export-all", "Export all host configuration files to standard output"),),
    ),
    "import": Command(
        "exchange.import_", 0, 0, (("import", "Import host configuration file(s) from standard input"),)
    ),
    "exchange": Command("exchange.exchange", 0, 0, (("exchange", "Same as export followed by import"),)),
    "exchange-all": Command(
        "exchange.exchange_all", 0, 0, (("exchange-all", "Same as export-all followed by import"),)
    ),
    "invite": Command(
        "invite.invite",
        0,
        ANY,
        (
            ("invite NODE [...]", "Generate an invitation for NODE"),
            ("  --address auto|ADDR", "- with an address of the VPN, free or given"),
        ),
    ),
    "join": Command("join.join", 0, ANY, (("join INVITATION", "Join a VPN using an INVITATION"),)),
    "network": Command(
        "network.network",
        0,
        1,
        (("network [NETNAME]", "List all known networks, or switch to the one named NETNAME."),),
        Json.ANYWHERE,
    ),
    "fsck": Command(
        "fsck.fsck", 0, 0, (("fsck", "Check the configuration files for problems."),), Json.ANYWHERE
    ),
    "doctor": Command(
        "doctor.doctor",
        0,
        0,
        (("doctor", "Check what keeps this node from working, and say what to do."),),
        Json.ANYWHERE,
    ),
    "edit": Command("edit.edit", 1, 1, (("edit FILE", "Edit a configuration file or script."),)),
    "sign": Command("signing.sign", 0, 1, (("sign [FILE]", "Generate a signed version of a file."),)),
    "verify": Command(
        "signing.verify", 1, 2, (("verify NODE [FILE]", "Verify that a file was signed by the given NODE."),)
    ),
    "completion": Command(
        "completions.completion",
        1,
        1,
        (("completion bash|zsh|fish", "Print the completion script for a shell."),),
    ),
    "version": Command("about.version", 0, 0, (("version", "Output version information."),)),
    "help": Command("about.help_", 0, ANY, (("help [COMMAND]", "Display this help, or that of COMMAND."),)),
}
"""Every command, by its name in lower case, in the order of the help text."""


def unknown_command(word: str) -> str:
    """Return the complaint about a word that is no command, with the most similar one."""
    from difflib import get_close_matches  # seldom needed

    nearest = get_close_matches(word.lower(), COMMANDS, n=1, cutoff=0.7)
    return f"Unknown command `{word}'." + (f" Did you mean `{nearest[0]}'?" if nearest else "")


def find(word: str) -> Command | None:
    """Return the command of this name, in upper or lower case. There are no abbreviations."""
    return COMMANDS.get(word.lower())
