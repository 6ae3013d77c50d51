"""Makes the man pages pytinc(8), pytincd(8) and tinc.conf(5). `generate.py` writes them.

Names, options, defaults and one-line descriptions come from the program's tables, remarks about variables
from docs/compatibility.md; this file adds the sentences that no table holds. A command without such a
sentence is an error, so that none is forgotten.
"""

from __future__ import annotations

import re
from pathlib import Path

from completions import Option, daemon_options, options_of

from pytinc.cli.about import OPTIONS_HELP
from pytinc.cli.commands import COMMANDS, Command, Json
from pytinc.config.variables import VARIABLES, Reload, Variable
from pytinc.wire.virtual_ip import (
    DEFAULT_FALL,
    DEFAULT_INTERVAL,
    DEFAULT_PRIORITY,
    DEFAULT_RISE,
    DEFAULT_STATUS,
    DEFAULT_TIMEOUT,
    DEFAULT_WEIGHT,
    KEYS,
    MAX_CHECKS,
    MAX_PRIORITY,
    MAX_VIRTUAL_IPS,
    MAX_WEIGHT,
)

ROOT = Path(__file__).resolve().parent.parent
BEFORE_THE_FIRST_RELEASE = "2026-11-23"
NOTE = "Made by tools/generate.py of pytinc: do not edit."

GLOBAL_OPTIONS = {
    "--batch": "Never prompt, and print plain lists on a terminal.",
    "--config": "Use the configuration in DIR instead of that of a network. Relative paths stay relative.",
    "--net": "Use the network NETNAME: its configuration is in /etc/tinc/NETNAME. The environment variable "
    "NETNAME does the same; an empty name or a dot stands for /etc/tinc itself.",
    "--pidfile": "Read the daemon's pid and cookie from FILENAME; the socket is beside that file.",
    "--force": "Do what a command would otherwise refuse: overwrite host files on import, set unknown or "
    "obsolete variables, repair what fsck finds.",
}

COMMAND_TEXTS = {
    "init": "The directory also gets new keys. Without a name, init asks for one. If port 655 is in use, it "
    "writes a free port into the node's host file.",
    "get": "Without HOST, get looks for the variable in tinc.conf, or in the own host file if it belongs "
    "there. `get Port' prints the port that the running daemon uses.",
    "set": "The first line of the variable is replaced; others are removed with a warning. In tinc.conf, a "
    "VirtualIP replaces only the line of the same address. The daemon is told to reload.",
    "add": "For a variable that may occur only once, this is the same as set.",
    "del": "Values are compared without regard to case.",
    "config": "config VERB ... is the same as VERB ..., where VERB is get, set, add, del, replace or change. "
    "Without a verb, it gets or sets.",
    "start": "The daemon also gets the global options of this command. Its messages are shown until it is "
    "ready.",
    "stop": "Returns when the daemon has ended.",
    "restart": "If the daemon is not running, it is started.",
    "reload": "The daemon reads its configuration and all host files again.",
    "pid": "The daemon itself is asked for the pid.",
    "generate-keys": "Old keys are not removed but disabled: their lines get a # in front.",
    "generate-ed25519-keys": "The same as generate-keys.",
    "dump": "In a pipe, each row is a line in tinc's form; on a terminal, rows are laid out as a table. For "
    "shared addresses (not in tinc) there are four kinds of lines: ADDRESS shared yes|no holders COUNT "
    "clients COUNT; ADDRESS failover REASON from NODE to NODE silent SECONDS took SECONDS clients COUNT ago "
    "SECONDS; ADDRESS holder MAC node NODE state STATE rtt MILLISECONDS answered SECONDS clients COUNT; "
    "ADDRESS client MAC at ADDRESS node NODE holder MAC of NODE idle SECONDS. A dash stands for an unknown "
    "value. A graph is text for Graphviz. With --svg FILE or --png FILE after graph, the mesh is drawn into "
    "that file (Graphviz must be installed): this node is marked, unreachable nodes are red, and direct, "
    "relayed and TCP-only paths from this node look different.",
    "list": "The same as dump.",
    "info": "About a node: its address, how it is reached, its path MTU, traffic, edges and subnets. "
    "About an IP or MAC address: the subnets that contain it, and their owners. In switch mode, where nodes "
    "own MAC addresses, the owner of an IP address is found by the MAC address that the kernel of this host "
    "knows for it: ping it first. A subnet is written with its /PREFIX.",
    "purge": "The whole network forgets them.",
    "debug": "0 is the quietest, 5 shows traffic; see pytincd(8).",
    "retry": "Try all outgoing connections now, without waiting for their time.",
    "connect": "Ask for a connection to NODE. No daemon implements this request; use add ConnectTo.",
    "disconnect": "An outgoing connection is made again later.",
    "vip": "A virtual IP is an address that this node or others may serve, by a line VirtualIP in "
    "tinc.conf(5) (not in tinc). With --watch, the output is refreshed every second until Ctrl-C is "
    "pressed. In a pipe, there is a line for each address: ADDRESS owner NODE state STATE term COUNT frozen "
    "yes|no members COUNT alive COUNT checks COUNT good COUNT clients COUNT changed SECONDS reason TEXT. "
    "STATE is what this node does: init, fault, backup, active, drain, or absent if its host does not have "
    "the address; checks are those of this node. A dash stands for an unknown value. Orders go to the daemon "
    "of this host: to drain another node, run the command there. drain and move wait until another node "
    "serves, at most 5 seconds, and fail if none does.",
    "events": "Only with pytinc's daemon (not in tinc), which remembers the last 256 events of each kind: "
    "its start and reloads, nodes that become reachable or unreachable, paths to nodes that change, "
    "connections, MAC addresses that move, nodes that fall silent, failovers of addresses with their "
    "times, the results of scripts, many dropped packets, storms and loops. A line has the number of the "
    "event, the local time, the kind and a text; with --json it is a JSON object (docs/json.md of the "
    "source). With --follow, the command goes on until the daemon ends or Ctrl-C is pressed. Missing "
    "numbers belong to forgotten events.",
    "view": "Serve a page that shows the mesh live: a graph, tables, addresses and their failovers, events, "
    "drops (not in tinc). It needs Python libraries: pip install 'pytinc[view]'. The command prints a URL "
    "with a token and goes on until Ctrl-C is pressed; a browser that has opened the URL gets a cookie, and "
    "nobody else sees anything. The page is read-only. It asks the daemon once a second while somebody "
    "watches, and works with tincd too, with less data. --listen is a numeric address or localhost, "
    "with :PORT if wanted ([ADDRESS]:PORT for IPv6), or a port alone; --host allows a further host name in "
    "requests and may be given several times; --socket NUMBER takes a listening socket that the program was "
    "started with. There is no encryption: reach it from elsewhere through ssh -L.",
    "top": "The first view has a line for each node: the path to it (UDP, via a relay, TCP), round trip "
    "time, dropped packets, bits a second in both directions, MAC addresses, path MTU, age of the key. "
    "The keys 1 2 3 4 show nodes, edges, addresses (virtual and shared ones with members and holders) and "
    "events; a C daemon reports no addresses, events and drops. The keys n i I o O t T choose the sort "
    "order as in tinc, r and x sort by round trip time and drops, b k M G choose the unit; c switches "
    "between what passes each second and totals, d between this view and tinc's, with traffic alone; s "
    "asks for the delay, h shows help, q quits. The arrow and page keys scroll.",
    "pcap": "Write the packets that the daemon handles to standard output, in the format of tcpdump(8).",
    "log": "Write the daemon's log messages to standard output, until it ends or Ctrl-C is pressed.",
    "export": "Print the own host file and a line with the node's name: what another node needs to import.",
    "export-all": "Print all host files.",
    "import": "Read what export or export-all has printed. Existing files are kept, unless --force is given.",
    "exchange": "For use over a connection, such as ssh(1), to the same command on another host.",
    "exchange-all": "As exchange, with all host files.",
    "invite": "Prepare an invitation for a new node, and print the URL that it needs to join.",
    "join": "Join a network with the URL of an invitation; without one, it is read from standard input.",
    "network": "In the shell, the commands that follow use NETNAME.",
    "fsck": "Problems are reported on standard error. With --force, or if you answer yes, fsck repairs what "
    "it can.",
    "doctor": "Each check has a line: ok, warning or problem, the finding, and advice. The status is 1 if "
    "there is a problem. fsck checks only the files.",
    "edit": "Open tinc.conf, a script such as tinc-up, or the host file of that name in $VISUAL, $EDITOR or "
    "vi(1), and tell the daemon to reload.",
    "sign": "Print the file, or standard input, with a signature of this node in front.",
    "verify": "Print the content of a signed file if the signature is that of NODE; a dot stands for the own "
    "node, * for any known node.",
    "completion": "The scripts are also installed where the shells look for them.",
    "version": "The same as --version.",
    "help": "The same as --help.",
}

DAEMON_TEXTS = {
    "--config": "Read the configuration in DIR, which becomes the working directory of the daemon and "
    "its scripts.",
    "--net": "Use the network NET: its configuration is in /etc/tinc/NET. The environment variable "
    "NETNAME does the same.",
    "--no-detach": "Stay in the foreground and log to standard error.",
    "--debug": "Each -d raises the debug level by one; with LEVEL, it is set to that. 0: start, stop and "
    "serious errors; 1: connections; 2: errors of peers and scripts; 3: requests; 4: their content; 5: "
    "traffic.",
    "--mlock": "Lock the daemon's memory, so that no key is written to swap space.",
    "--logfile": "Log to FILE, or to the default log file. HUP reopens it.",
    "--syslog": "Log to syslog even in the foreground.",
    "--pidfile": "Write pid and cookie to FILE; the control socket is beside that file.",
    "--option": "Override a variable of tinc.conf or, with HOST., of a host file. May be repeated.",
    "--chroot": "Change the root directory to the configuration directory after the start.",
    "--user": "Run as USER after the start. Later scripts also run as that user.",
    "--bypass-security": "Do not encrypt or authenticate meta connections: anybody can join. Only for "
    "debugging.",
}

RELOAD_WORDS = {
    Reload.APPLY: "A reload applies changes.",
    Reload.APPLY_AND_LOOK_UP: "A reload applies changes.",
    Reload.APPLY_OR_DEFAULT: "A reload applies changes.",
    Reload.APPLY_OR_KEEP: "A reload applies changes (k: tinc keeps the old value when the line is removed).",
    Reload.LOOK_UP: "Read again for each new connection.",
    Reload.START: "Read only at start.",
    Reload.IGNORED: "",
}

VARIABLE_TEXTS = {
    "Address": "Addresses are tried in the order of the file, after those that have worked before.",
    "AutoConnect": "Needs nodes with an Address, and makes ConnectTo unnecessary.",
    "Broadcast": "mst sends broadcasts along the spanning tree, direct sends them directly to each node.",
    "BroadcastLimit": "0 means any number. It counts broadcast, multicast, and packets for MAC addresses "
    "that nobody owns: separately for the own device and for each neighbour, and ARP and neighbour discovery "
    "separately from all other packets.",
    "ConnectTo": "There must be a host file of the node, with its key and an Address.",
    "DeviceType": "dummy has no network interface: it is for relays. raw_socket uses the network interface "
    "named by Interface (such as eth0), which must not be the one that the tunnels use. multicast needs "
    "Device = ADDRESS PORT [TTL]. fd needs Device = NUMBER, a descriptor that the daemon inherits, or the "
    "path of a UNIX socket (with @: abstract) that passes one; it carries IP packets, so it is not for "
    "switch mode. vde needs Device = DIRECTORY, the directory of a vde_switch(1).",
    "GuardInterval": "From 20 to 1000. A node is watched only while somebody uses an address that it shares; "
    "after two missed probes it is suspect, and a burst of further probes decides.",
    "Interface": "At most 15 characters.",
    "Mode": "All nodes of a network must have the same mode.",
    "Name": "Letters, digits and underscores. It must be unique in the whole network.",
    "NeighbourGuard": "In switch mode, the same address on several nodes needs no other configuration. In "
    "router mode, the guard skips a silent node if others announce the same Subnet.",
    "Port": "In the own host file: the port to listen on. In another host file: the port of its Addresses "
    "without a port.",
    "StrictVirtualIPs": "Without it, a node may also hold an address that no host file names.",
    "Subnet": "ADDRESS[/PREFIX][#WEIGHT], an IPv4, IPv6 or MAC address; the lowest weight is preferred, "
    "10 is the default. Not needed in switch mode, where MAC addresses are learned.",
    "TunnelServer": "Clients of this node see neither each other nor the rest of the network.",
    "VirtualIP": "See VIRTUAL IPS below. In a host file: only an address, which the node may hold.",
    "Weight": "Among ways with the same number of hops, the one with the lowest weight is used.",
}

VIRTUAL_IP_TEXTS = {
    "node": "The line is about this node, which runs tinc's daemon, and not about the own node, which speaks "
    "for it as its guardian.",
    "priority": f"1 to {MAX_PRIORITY}; {DEFAULT_PRIORITY} is the default. The highest one of the members "
    "that are well serves, when a new one is needed.",
    "preempt": "no (the default), or the seconds for which this node must have been well until it takes the "
    "address from a member of lower priority.",
    "balance": "failover (the default): one member serves all clients; client: each client gets a member; "
    "flow: each TCP connection or UDP flow does, where the client's node is pytinc. The owner's setting "
    "counts.",
    "weight": f"1 to {MAX_WEIGHT}; {DEFAULT_WEIGHT} is the default. The share of clients or flows, relative "
    "to the other members.",
    "check": f"A health check of this node, at most {MAX_CHECKS} of them; all must be well. tcp:PORT, "
    "tcp:HOST:PORT or tcp:[IPV6]:PORT: a connection is accepted, without HOST at the virtual address itself. "
    "http://... or https://...: GET returns an expected status and text. exec:SCRIPT: a file of the "
    "configuration directory ends with status 0; 2 drains this node.",
    "status": "Of the http or https check before it: the expected status, such as 200 or 200-299; "
    f"{DEFAULT_STATUS[0]}-{DEFAULT_STATUS[1]} is the default.",
    "text": "Of the http or https check before it: what the body must contain.",
    "verify": "Of the https check before it: yes or no (the default), whether to check the certificate.",
    "interval": f"Seconds between two runs of a check; {DEFAULT_INTERVAL:g} is the default.",
    "timeout": f"Seconds that a run may take; {DEFAULT_TIMEOUT:g} is the default.",
    "rise": f"Good results in a row after which a check is well again; {DEFAULT_RISE} is the default.",
    "fall": f"Bad results in a row after which a check is not well; {DEFAULT_FALL} is the default.",
    "manage": "yes: the daemon puts the address on its interface, and takes it away when it ends. no (the "
    "default): tinc-up does.",
}


def pages() -> dict[str, str]:
    """Return the man pages by file name."""
    return {"pytinc.8": _pytinc(), "pytincd.8": _pytincd(), "tinc.conf.5": _tinc_conf()}


# -- roff --------------------------------------------------------------------------------------------------


def _roff(text: str) -> str:
    """Escape text for roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    return re.sub(r"^\.", r"\\&.", text, flags=re.MULTILINE)


def _head(name: str, section: int, description: str, synopsis: list[str]) -> list[str]:
    manual = "File formats" if section == 5 else "System administration"
    return [
        f'.\\" {NOTE}',
        f'.TH {name.upper()} {section} {date_of_release()} pytinc "{manual}"',
        ".SH NAME",
        f"{_roff(name)} \\- {_roff(description)}",
        *([".SH SYNOPSIS", *synopsis] if synopsis else []),
    ]


def _section(title: str, *paragraphs: str) -> list[str]:
    lines = [f".SH {title}"]
    for number, paragraph in enumerate(paragraphs):
        lines += [".PP"] if number else []
        lines.append(_roff(paragraph))
    return lines


def _example(text: str) -> list[str]:
    return [".PP", ".nf", ".RS 4", *(_roff(line) for line in text.splitlines()), ".RE", ".fi"]


def _item(tag: str, *texts: str) -> list[str]:
    """Return a tagged paragraph; the tag is roff already."""
    lines = [".TP", tag]
    for number, text in enumerate(text for text in texts if text):
        lines += [".IP"] if number else []
        lines.append(_roff(text))
    return lines


def _items(rows: dict[str, str], font: str = "B") -> list[str]:
    return [line for tag, text in rows.items() for line in _item(f".{font} {_roff(tag)}", text)]


def _options(options: list[Option], texts: dict[str, str]) -> list[str]:
    lines = []
    for option in options:
        names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in option.names)
        value = f" \\fI{_roff(option.value)}\\fR" if option.value else ""
        text = next((texts[name] for name in option.names if name in texts), option.text)
        lines += _item(names + value, text)
    return lines


# -- pytinc(8) ---------------------------------------------------------------------------------------------


def _pytinc() -> str:
    lines = _head(
        "pytinc",
        8,
        "control a node of a tinc network",
        [".B pytinc", r"[\fIoptions\fR] [\fIcommand\fR [\fIarguments\fR]]"],
    )
    lines += _section(
        "DESCRIPTION",
        "pytinc makes and changes the configuration of a node, starts and stops its daemon pytincd(8), and "
        "shows what that daemon knows. It takes the command lines of tinc(8), and also works with "
        "tinc's daemon.",
        "Without a command it reads commands from standard input, one in each line, until the end of input, "
        "exit or quit; on a terminal it offers history and completion.",
    )
    lines += [".SH OPTIONS", "Options come before the command. Long options may be shortened."]
    lines += _options(options_of(OPTIONS_HELP), GLOBAL_OPTIONS)
    lines += [".SH COMMANDS", _roff("Names of commands and variables may be written in upper or lower case.")]
    for name, command in COMMANDS.items():
        lines += _command(name, command)
    lines += _section(
        "OUTPUT",
        "The lists of dump and info have exactly tinc's form when standard output is not a terminal, with "
        "--batch, or with PYTINC_PLAIN=1.",
        "The commands dump (except graphs), info, get, vip, events, network, fsck and doctor take the word "
        "--json: get directly after its name, the others anywhere after it. Then they print one JSON "
        "document; events prints one a line. docs/json.md of the source lists its fields; none will be "
        "renamed.",
    )
    lines += [
        ".SH ENVIRONMENT",
        *_items(
            {
                "CREDENTIALS_DIRECTORY": "A directory whose file ed25519_key.priv, if it is there, is the "
                "private key of the node, as for pytincd(8).",
                "NETNAME": "The network, if there is no --net.",
                "NO_COLOR": "If set, output has no colours.",
                "PYTINC_PLAIN": "If 1, lists on a terminal have tinc's form.",
                "VISUAL, EDITOR": "The editor for edit.",
                "PYTINC_SYSCONFDIR, PYTINC_LOCALSTATEDIR": "Used instead of /etc and /var.",
            }
        ),
        ".SH FILES",
        *_items(
            {
                "/etc/tinc/NETNAME/": "The configuration of a network, see tinc.conf(5).",
                "/var/run/tinc.NETNAME.pid": "Pid and cookie of the daemon; for an ordinary user, the file "
                "pid in the configuration directory.",
            },
            "I",
        ),
    ]
    lines += _section(
        "EXIT STATUS",
        "0 on success, 1 on failure, 130 after Ctrl-C. The shell combines the statuses of all its commands.",
    )
    lines += [".SH EXAMPLES", _roff("Make a node and look at the mesh:")]
    lines += _example(
        "pytinc -n home init alice\npytinc -n home set Mode switch\npytinc -n home add ConnectTo bob\n"
        "pytinc -n home start\npytinc -n home dump nodes\npytinc -n home dump graph --svg mesh.svg\n"
        "pytinc -n home dump nodes --json | jq -r '.[] | select(.reachable) | .name'"
    )
    lines += _section("SEE ALSO", "pytincd(8), tinc.conf(5), tinc(8)")
    return "\n".join(lines) + "\n"


def _command(name: str, command: Command) -> list[str]:
    text = COMMAND_TEXTS[name]
    rows = command.help or ((name, ""),)
    synopsis, description = rows[0]
    words = synopsis.split(" ", 1)
    tag = f"\\fB{_roff(words[0])}\\fR" + "".join(f" \\fI{_roff(word)}\\fR" for word in words[1:])
    if command.json is not Json.NOWHERE:
        tag += " [\\fB\\-\\-json\\fR]"
    if len(rows) == 1:
        return _item(tag, _sentence(description), text)
    lines = _item(tag, _sentence(description))
    lines += [".RS"]
    for left, right in rows[1:]:
        lines += _item(f".B {_roff(left.strip())}", right.removeprefix("- "))
    return [*lines, ".RE", ".IP", _roff(text)]


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", ":")) else text + "."


# -- pytincd(8) --------------------------------------------------------------------------------------------


def _pytincd() -> str:
    lines = _head("pytincd", 8, "the daemon of a tinc network", [".B pytincd", r"[\fIoptions\fR]"])
    lines += _section(
        "DESCRIPTION",
        "pytincd is one node of a network of tinc 1.1: an Ethernet switch whose ports are a TAP interface "
        "of this host and the encrypted tunnels to the other nodes. It is usually started and stopped with "
        "pytinc(8).",
        "It speaks only SPTPS; nodes that know only the protocol of tinc 1.0 cannot join.",
    )
    lines += [
        ".SH OPTIONS",
        _roff("If an option is given twice, the last one counts."),
        *_options(daemon_options(), DAEMON_TEXTS),
    ]
    lines += [
        ".SH SIGNALS",
        *_items(
            {
                "TERM, INT, QUIT": "Close the connections with the peers, run the down scripts, and end.",
                "HUP": "Reopen the log file and reload. If that fails, end with status 1.",
                "ALRM": "Try outgoing connections now.",
            }
        ),
    ]
    lines += _section(
        "SCRIPTS",
        "The daemon runs these files in the configuration directory if they exist and are executable. They "
        "run in that directory, one after the other, while packets go on. Their environment has NETNAME, "
        "NAME, DEVICE, INTERFACE, and the variables named here.",
    )
    lines += _items(
        {
            "tinc-up, tinc-down": "The interface exists, or will be removed. tinc-up sets its address.",
            "host-up, host-down, hosts/NODE-up, hosts/NODE-down": "A node has become reachable or "
            "unreachable: NODE, REMOTEADDRESS, REMOTEPORT.",
            "subnet-up, subnet-down": "A subnet, or a learned MAC address, was added or removed: SUBNET, "
            "WEIGHT, NODE.",
            "vip-changed": "Clients of a shared address were led to another node; see NeighbourGuard in "
            "tinc.conf(5): VIP (the address), OLDNODE, NODE (empty if none is known), REASON (silent, "
            "unreachable, withdrawn, removed or moved), CLIENTS (their number), SILENCE (seconds, with "
            "decimals, for which OLDNODE had been silent). Only pytinc runs it.",
            "vip-up, vip-down": "This node begins, or ends, to serve a VirtualIP of tinc.conf(5): VIP (the "
            "address), STATE (of this node), OWNER (the node that serves, or empty), TERM, REASON (for "
            "people). Only pytinc runs them.",
        }
    )
    lines += _section(
        "SERVICE MANAGER",
        "The daemon takes over listening sockets from systemd (LISTEN_PID, LISTEN_FDS), reports readiness "
        "and its end (NOTIFY_SOCKET), and sends watchdog messages if they are wanted (WATCHDOG_USEC). If the "
        "directory in CREDENTIALS_DIRECTORY has a file ed25519_key.priv, it is the private key, whatever "
        "Ed25519PrivateKeyFile says.",
    )
    lines += _section(
        "EXIT STATUS", "0 after an orderly end. 1 if the start failed; the log, or pytinc start, says why."
    )
    lines += _section("SEE ALSO", "pytinc(8), tinc.conf(5), tincd(8)")
    return "\n".join(lines) + "\n"


# -- tinc.conf(5) ------------------------------------------------------------------------------------------


def _tinc_conf() -> str:
    lines = _head("tinc.conf", 5, "configuration of a node of a tinc network", [])
    lines += _section(
        "DESCRIPTION",
        "The configuration of a node is a directory, /etc/tinc/NETNAME, with these files:",
    )
    lines += _items(
        {
            "tinc.conf": "The configuration of the node itself.",
            "conf.d/*.conf": "More files like tinc.conf.",
            "hosts/NODE": "What all nodes know of NODE: its key, address, port and subnets. The node's own "
            "host file is there as well; other nodes need a copy of it.",
            "ed25519_key.priv": "The private key.",
            "tinc-up": "The script that sets up the interface; see pytincd(8).",
            "vip-changed": "The script that runs when clients of a shared address were led to another node; "
            "see pytincd(8).",
            "cache/": "Addresses at which the daemon has reached nodes.",
        },
        "I",
    )
    lines += _section(
        "SYNTAX",
        "A line is VARIABLE = VALUE; the equals sign may be left out. Lines that begin with # are comments. "
        "Empty lines, and blocks from -----BEGIN to -----END, which hold keys, are skipped. There are no "
        "quotes (but in VirtualIP), and nothing may follow a value. Names of variables may be written in "
        "upper or lower case. If a variable may occur only once, its first line counts.",
    )
    lines += _example("Name = alice\nMode = switch\nConnectTo = bob")
    lines += _section(
        "VARIABLES",
        "Each variable is shown with the kind of its value, its default, and the files that may contain it: "
        "server is tinc.conf and conf.d, host is the host file of a node. Remarks about pytinc say how it "
        "differs from tinc.",
    )
    remarks = compatibility_remarks()
    for variable in VARIABLES.values():
        lines += _variable(variable, remarks[variable.name])
    lines += _section(
        "VIRTUAL IPS",
        "Each line VirtualIP of tinc.conf makes this node a member of one address; there may be "
        f"{MAX_VIRTUAL_IPS}. The members agree on one of them, and only this one answers for the address. "
        "Keys follow, as in",
    )
    lines += _example("VirtualIP = 10.1.1.10/24 priority=150 check=tcp:80")
    lines += _items({f"{key}=": VIRTUAL_IP_TEXTS[key] for key in KEYS})
    lines += [
        ".PP",
        _roff(
            'A value with blanks stands in double quotes, as in text="all is well", with a backslash before '
            "a quote or a backslash in it."
        ),
    ]
    lines += _section("SEE ALSO", "pytinc(8), pytincd(8)")
    return "\n".join(lines) + "\n"


def _variable(variable: Variable, remark: str) -> list[str]:
    places = [word for word, yes in (("server", variable.server), ("host", variable.host)) if yes]
    facts = ", ".join(places)
    facts += ", may occur several times" if variable.multiple else ""
    facts += ", accepted from invitations" if variable.safe else ""
    facts += ", obsolete" if variable.obsolete else ""
    default = f" ({_roff(variable.default)})" if variable.default else ""
    tag = f"\\fB{_roff(variable.name)}\\fR = \\fI{_roff(variable.type.value)}\\fR{default} [{_roff(facts)}]"
    effect = variable.effect + "."
    if not effect.split()[0].endswith((",", ":")):  # those are values, and written as they are
        effect = effect[0].upper() + effect[1:]
    text = " ".join(
        part
        for part in (effect, VARIABLE_TEXTS.get(variable.name, ""), RELOAD_WORDS[variable.reload])
        if part
    )
    return _item(tag, text, remark)


def date_of_release() -> str:
    """Return the date of the newest release in CHANGELOG.md, whose title is ``## VERSION - DATE``."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    match = re.search(r"^## \S+ - (\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
    return match[1] if match else BEFORE_THE_FIRST_RELEASE


def compatibility_remarks() -> dict[str, str]:
    """Return what docs/compatibility.md says of each variable that is not the same as in tinc."""
    text = (ROOT / "docs/compatibility.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (\w+) \| (same|differs|absent) \| (.*?) ?\|$", text.partition("## Variables")[2], re.MULTILINE
    )
    return {name: _remark(status, why.replace("`", "")) for name, status, why in rows}


def _remark(status: str, why: str) -> str:
    if status == "same":
        return ""
    if why.startswith("only in pytinc"):
        return f"O{why[1:]}."
    return f"{'In pytinc' if status == 'differs' else 'Not in pytinc'}: {why}."
