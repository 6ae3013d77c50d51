"""Makes the completion scripts for bash, zsh and fish. `generate.py` writes them.

All three work alike: they skip the global options, find the command, and offer what can follow it. Node names
come from hosts/ of the network that the options name, for some commands also from the running daemon.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pytinc.cli.about import OPTIONS_HELP
from pytinc.cli.commands import COMMANDS
from pytinc.config.variables import VARIABLES, ValueType
from pytinc.control import vips
from pytinc.daemon.options import help_text
from pytinc.wire.virtual_ip import KEYS

NOTE = "Made by tools/generate.py of pytinc from its tables of commands and variables: do not edit."

DUMP_WORDS = (
    "reachable",
    "nodes",
    "edges",
    "subnets",
    "connections",
    "shared",
    "graph",
    "digraph",
    "invitations",
)
SCRIPTS = (
    "tinc.conf",
    "tinc-up",
    "tinc-down",
    "host-up",
    "host-down",
    "subnet-up",
    "subnet-down",
    "vip-changed",
    "vip-up",
    "vip-down",
)
NOT_OFFERED = ("config",)
"""As in tinc's own completion (docs/tinc-program.md, "Shell")."""
WITHOUT_HELP = {
    "list": "The same as dump",
    "connect": "Connect to a node",
    "config": "Change the configuration",
}


class Option(NamedTuple):
    """A row of an options table of a help text."""

    names: tuple[str, ...]
    value: str
    """As in the help text; empty for a flag."""
    text: str


def options_of(help_text: str) -> list[Option]:
    """Read the options table of a help text."""
    row = re.compile(r"^ +(?:(-\w)(?:, +|(?= )))?(--[\w-]+)?[= ]?(\S+)?  +(\S.*)$", re.MULTILINE)
    return [
        Option(tuple(name for name in (match[1], match[2]) if name), match[3] or "", match[4])
        for match in row.finditer(help_text)
        if match[1] or match[2]
    ]


def daemon_options() -> list[Option]:
    """Return the options of pytincd."""
    return options_of(help_text("pytincd"))


def global_options() -> list[tuple[str, str]]:
    """Return each spelling of a global option with its description."""
    return [(name, option.text) for option in options_of(OPTIONS_HELP) for name in option.names]


def commands() -> list[tuple[str, str]]:
    """Return the commands that are offered, with their descriptions."""
    return [
        (name, " ".join(command.help[0][1].split()) if command.help else WITHOUT_HELP.get(name, name))
        for name, command in COMMANDS.items()
        if name not in NOT_OFFERED
    ]


def scripts() -> dict[str, str]:
    """Return the scripts by file name."""
    every = list(VARIABLES.values())
    lists = {
        "NOTE": NOTE,
        "OPTIONS": " ".join(option for option, _ in global_options()),
        "COMMANDS": " ".join(name for name, _ in commands()),
        "DUMP": " ".join(DUMP_WORDS),
        "VIP": " ".join(vips.VERBS),
        "SCRIPTS": " ".join(SCRIPTS),
        "VARIABLES": " ".join(variable.name for variable in every),
        "HOST_VARIABLES": " ".join(variable.name for variable in every if variable.host),
        "YES_NO": "|".join(v.name.lower() for v in every if v.type is ValueType.BOOL),
        "NODE_NAME": "|".join(v.name.lower() for v in every if v.type is ValueType.NAME),
        "VIRTUAL_IP_KEYS": " ".join(f"{key}=" for key in KEYS),
        "DAEMON_OPTIONS": " ".join(name for option in daemon_options() for name in option.names),
        "ZSH_COMMANDS": "\n".join(f"        {_zsh_quoted(name, text)}" for name, text in commands()),
        "ZSH_OPTIONS": "\n".join(f"        {_zsh_quoted(name, text)}" for name, text in global_options()),
        "FISH_COMMANDS": "\n".join(
            f"complete -c pytinc -n __pytinc_no_command -a {name} -d {_quoted(text)}"
            for name, text in commands()
        ),
        "FISH_OPTIONS": "\n".join(
            f"complete -c pytinc -n __pytinc_no_command -a {name} -d {_quoted(text)}"
            for name, text in global_options()
        ),
    }
    return {
        name: re.sub(r"@([A-Z_]+)@", lambda match: lists[match[1]], template)
        for name, template in (("pytinc.bash", BASH), ("_pytinc", ZSH), ("pytinc.fish", FISH))
    }


def _quoted(text: str) -> str:
    escaped = text.replace("'", "\\'")
    return f"'{escaped}'"


def _zsh_quoted(name: str, text: str) -> str:
    return "'" + f"{name}:{text}".replace("'", "'\\''") + "'"


BASH = r"""# bash completion for pytinc
# @NOTE@

# Offer words that begin with $1, in any case.
_pytinc_offer() {
    local begun=$1 word
    shift
    for word in "$@"; do
        [[ ${word,,} == "${begun,,}"* ]] && COMPREPLY+=("$word")
    done
}

_pytinc_files() {
    local file
    while IFS= read -r file; do COMPREPLY+=("$file"); done < <(compgen "$1" -- "$cur")
    compopt -o filenames 2>/dev/null
}

_pytinc_networks() {
    local file
    for file in "$confdir"/*/tinc.conf; do
        [[ -r $file ]] && file=${file%/tinc.conf} && _pytinc_offer "$cur" "${file##*/}"
    done
}

# Names of the files in hosts/ that are names of nodes.
_pytinc_hosts() {
    local file
    for file in "$confbase"/hosts/*; do
        file=${file##*/}
        [[ $file =~ ^[A-Za-z0-9_]+$ ]] && printf '%s\n' "$file"
    done
}

# Print the first word of each line of a command of pytinc, which asks the running daemon.
_pytinc_running() {
    command "${COMP_WORDS[0]/#\~/$HOME}" --batch "${globals[@]}" "$@" 2>/dev/null </dev/null |
        while read -r name _; do printf '%s\n' "$name"; done
}

_pytinc_variable() {
    local host=${cur%%.*} name
    if [[ $cur == *.* ]]; then
        for name in @HOST_VARIABLES@; do
            _pytinc_offer "$cur" "$host.$name"
        done
        return
    fi
    _pytinc_offer "$cur" @VARIABLES@
    for name in $(_pytinc_hosts); do _pytinc_offer "$cur" "$name."; done
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *. ]] && compopt -o nospace 2>/dev/null
    return 0
}

_pytinc_value() {
    local name=${1##*.}
    case ${name,,} in
        @YES_NO@) _pytinc_offer "$cur" yes no ;;
        @NODE_NAME@) _pytinc_offer "$cur" $(_pytinc_hosts) ;;
    esac
}

_pytinc() {
    local cur=${COMP_WORDS[COMP_CWORD]} word value pending= command= index=1 confbase=
    local confdir=${PYTINC_SYSCONFDIR:-/etc}/tinc net=${NETNAME-} directory=
    local -a globals=() given=()
    COMPREPLY=()
    while ((index < COMP_CWORD)); do
        word=${COMP_WORDS[index]}
        ((index += 1))
        if [[ -n $command ]]; then
            given+=("$word")
            continue
        fi
        case $word in
            -c | -n | --config | --net | --pidfile)
                # bash makes three words of --net=vpn.
                [[ ${COMP_WORDS[index]} == "=" ]] && ((index += 1))
                if ((index >= COMP_CWORD)); then
                    pending=$word
                    [[ $cur == "=" ]] && cur=
                    break
                fi
                value=${COMP_WORDS[index]/#\~/$HOME}
                ((index += 1))
                globals+=("$word" "$value")
                case $word in
                    -c | --config) directory=$value ;;
                    -n | --net) net=$value ;;
                esac
                ;;
            -n?*) net=${word#-n} globals+=("$word") ;;
            -c?*) directory=${word#-c} globals+=("$word") ;;
            -*) globals+=("$word") ;;
            *) command=${word,,} ;;
        esac
    done
    [[ $net == . ]] && net=
    confbase=${directory:-$confdir${net:+/$net}}
    case $pending in
        -c | --config) _pytinc_files -d; return ;;
        -n | --net) _pytinc_networks; return ;;
        --pidfile) _pytinc_files -f; return ;;
    esac
    if [[ -z $command ]]; then
        if [[ $cur == -* ]]; then
            _pytinc_offer "$cur" @OPTIONS@
        else
            _pytinc_offer "$cur" @COMMANDS@
        fi
        return
    fi
    if [[ $command == config && ${#given[@]} -gt 0 ]]; then
        command=${given[0],,}
        given=("${given[@]:1}")
    elif [[ $command == config ]]; then
        _pytinc_offer "$cur" get set add del
        return
    fi
    local count=${#given[@]} last=
    ((count)) && last=${given[count - 1]}
    case $command in
        dump | list)
            [[ $cur == -* && $last != *graph ]] && _pytinc_offer "$cur" --json
            case ${last,,} in
                "" | --json) _pytinc_offer "$cur" @DUMP@ ;;
                reachable) _pytinc_offer "$cur" nodes ;;
                graph | digraph) _pytinc_offer "$cur" --svg --png ;;
                --svg | --png) _pytinc_files -f ;;
            esac
            ;;
        get | set | add | del)
            if ((count == 0)) || [[ $last == --json ]]; then
                [[ $command == get && $cur == -* ]] && _pytinc_offer "$cur" --json
                _pytinc_variable
            elif ((count == 1)) && [[ $command != get ]]; then
                _pytinc_value "$last"
            elif [[ $command == [as]* && ${given[0],,} == virtualip && $last != "=" && $cur != "=" ]]; then
                # bash makes three words of priority=5.
                compopt -o nospace 2>/dev/null
                _pytinc_offer "$cur" @VIRTUAL_IP_KEYS@
            fi
            ;;
        info | disconnect)
            [[ $command == info && $cur == -* ]] && _pytinc_offer "$cur" --json
            ((count == 0)) || [[ $last == --json ]] &&
                _pytinc_offer "$cur" $({ _pytinc_hosts; _pytinc_running dump nodes; } | sort -u)
            ;;
        connect | verify)
            if ((count == 0)); then
                _pytinc_offer "$cur" $(_pytinc_hosts)
            elif [[ $command == verify ]]; then
                _pytinc_files -f
            fi
            ;;
        vip)
            case $count,${given[0],,} in
                0,) _pytinc_offer "$cur" @VIP@ $(_pytinc_running vip) ;;
                1,move | 1,freeze | 1,thaw | 1,rebalance) _pytinc_offer "$cur" $(_pytinc_running vip) ;;
                2,move) _pytinc_offer "$cur" $(_pytinc_hosts) ;;
            esac
            [[ $cur == -* ]] && _pytinc_offer "$cur" --json --watch
            ;;
        events) [[ $cur == -* ]] && _pytinc_offer "$cur" --follow --json --since ;;
        view) [[ $cur == -* ]] && _pytinc_offer "$cur" --listen --host --socket ;;
        network)
            _pytinc_networks
            [[ $cur == -* ]] && _pytinc_offer "$cur" --json
            ;;
        fsck | doctor) _pytinc_offer "$cur" --json ;;
        edit) ((count == 0)) && _pytinc_offer "$cur" @SCRIPTS@ $(_pytinc_hosts) ;;
        debug | log) ((count == 0)) && _pytinc_offer "$cur" 0 1 2 3 4 5 10 ;;
        sign) _pytinc_files -f ;;
        start | restart) _pytinc_offer "$cur" @DAEMON_OPTIONS@ ;;
        completion) ((count == 0)) && _pytinc_offer "$cur" bash zsh fish ;;
    esac
    return 0
}

complete -F _pytinc pytinc
"""

ZSH = r"""#compdef pytinc
# zsh completion for pytinc
# @NOTE@

_pytinc_offer() {
    compadd -M 'm:{a-zA-Z}={A-Za-z}' -- "$@"
}

_pytinc_networks() {
    local -a found=($confdir/*/tinc.conf(N:h:t))
    _pytinc_offer $found
}

# Names of the files in hosts/ that are names of nodes.
_pytinc_hosts() {
    reply=(${(M)${(f)"$(print -rl -- $confbase/hosts/*(N:t))"}:#[A-Za-z0-9_]##})
}

# The first word of each line of a command of pytinc, which asks the running daemon.
_pytinc_running() {
    reply=(${${(f)"$(command ${~words[1]} --batch $globals "$@" 2>/dev/null </dev/null)"}%% *})
}

_pytinc_variable() {
    local -a reply
    if [[ $PREFIX == *.* ]]; then
        compset -P '*.'
        _pytinc_offer @HOST_VARIABLES@
        return
    fi
    _pytinc_offer @VARIABLES@
    _pytinc_hosts
    (( $#reply )) && compadd -M 'm:{a-zA-Z}={A-Za-z}' -S . -- $reply
}

_pytinc_value() {
    local -a reply
    case ${(L)1##*.} in
        (@YES_NO@) _pytinc_offer yes no ;;
        (@NODE_NAME@) _pytinc_hosts; _pytinc_offer $reply ;;
    esac
}

_pytinc() {
    setopt localoptions extendedglob
    local confdir=${PYTINC_SYSCONFDIR:-/etc}/tinc net=${NETNAME-} directory confbase word value command last
    local -a globals given reply names
    local -i index=2
    local -a commands=(
@ZSH_COMMANDS@
    )
    local -a options=(
@ZSH_OPTIONS@
    )
    while (( index < CURRENT )); do
        word=$words[index]
        (( index += 1 ))
        if [[ -n $command ]]; then
            given+=("$word")
            continue
        fi
        case $word in
            (-c|-n|--config|--net|--pidfile)
                if (( index >= CURRENT )); then
                    case $word in
                        (-c|--config) _files -/ ;;
                        (-n|--net) _pytinc_networks ;;
                        (*) _files ;;
                    esac
                    return
                fi
                value=${words[index]/#\~/$HOME}
                (( index += 1 ))
                globals+=("$word" "$value")
                case $word in
                    (-c|--config) directory=$value ;;
                    (-n|--net) net=$value ;;
                esac
                ;;
            (--config=*) directory=${${word#*=}/#\~/$HOME} globals+=("--config=$directory") ;;
            (--net=*) net=${word#*=} globals+=("$word") ;;
            (-n?*) net=${word#-n} globals+=("$word") ;;
            (-c?*) directory=${word#-c} globals+=("$word") ;;
            (-*) globals+=("$word") ;;
            (*) command=${(L)word} ;;
        esac
    done
    [[ $net == . ]] && net=
    confbase=${directory:-$confdir${net:+/$net}}
    if [[ -z $command ]]; then
        case $PREFIX in
            (--config=*) compset -P '*='; _files -/ ;;
            (--net=*) compset -P '*='; _pytinc_networks ;;
            (--pidfile=*) compset -P '*='; _files ;;
            (-*) _describe -o option options ;;
            (*) _describe -t commands command commands -M 'm:{a-zA-Z}={A-Za-z}' ;;
        esac
        return
    fi
    if [[ $command == config && $#given -gt 0 ]]; then
        command=${(L)given[1]}
        shift given
    elif [[ $command == config ]]; then
        _pytinc_offer get set add del
        return
    fi
    last=${given[-1]}
    case $command in
        (dump|list)
            [[ $PREFIX == -* && $last != *graph ]] && _pytinc_offer --json
            case ${(L)last} in
                (""|--json) _pytinc_offer @DUMP@ ;;
                (reachable) _pytinc_offer nodes ;;
                (graph|digraph) _pytinc_offer --svg --png ;;
                (--svg|--png) _files ;;
            esac
            ;;
        (get|set|add|del)
            if [[ $#given -eq 0 || $last == --json ]]; then
                [[ $command == get && $PREFIX == -* ]] && _pytinc_offer --json
                _pytinc_variable
            elif [[ $#given -eq 1 && $command != get ]]; then
                _pytinc_value "$last"
            elif [[ $command == [as]* && ${(L)given[1]} == virtualip ]]; then
                compadd -S '' -- @VIRTUAL_IP_KEYS@
            fi
            ;;
        (info|disconnect)
            [[ $command == info && $PREFIX == -* ]] && _pytinc_offer --json
            if [[ $#given -eq 0 || $last == --json ]]; then
                _pytinc_hosts
                names=($reply)
                _pytinc_running dump nodes
                names+=($reply)
                _pytinc_offer ${(u)names}
            fi
            ;;
        (connect|verify)
            if (( $#given == 0 )); then
                _pytinc_hosts
                _pytinc_offer $reply
            elif [[ $command == verify ]]; then
                _files
            fi
            ;;
        (vip)
            [[ $PREFIX == -* ]] && _pytinc_offer --json --watch
            case $#given,${(L)given[1]} in
                (0,) _pytinc_running vip; _pytinc_offer @VIP@ $reply ;;
                (1,move|1,freeze|1,thaw|1,rebalance) _pytinc_running vip; _pytinc_offer $reply ;;
                (2,move) _pytinc_hosts; _pytinc_offer $reply ;;
            esac
            ;;
        (events) [[ $PREFIX == -* ]] && _pytinc_offer --follow --json --since ;;
        (view) [[ $PREFIX == -* ]] && _pytinc_offer --listen --host --socket ;;
        (network)
            [[ $PREFIX == -* ]] && _pytinc_offer --json
            _pytinc_networks
            ;;
        (fsck|doctor) _pytinc_offer --json ;;
        (edit) _pytinc_hosts; _pytinc_offer @SCRIPTS@ $reply ;;
        (debug|log) _pytinc_offer 0 1 2 3 4 5 10 ;;
        (sign) _files ;;
        (start|restart) _pytinc_offer @DAEMON_OPTIONS@ ;;
        (completion) _pytinc_offer bash zsh fish ;;
    esac
}

if [[ $funcstack[1] == _pytinc ]]; then
    _pytinc "$@"
else
    compdef _pytinc pytinc
fi
"""

FISH = r"""# fish completion for pytinc
# @NOTE@

# Print what was typed so far: first line the command (or nothing), then its words.
function __pytinc_given
    set -l words (commandline -opc)
    set -l command ''
    set -l given
    set -l skip 0
    for word in $words[2..-1]
        if test $skip = 1
            set skip 0
        else if test -n "$command"
            set given $given $word
        else
            switch $word
                case -c -n --config --net --pidfile
                    set skip 1
                case '-*'
                case '*'
                    set command (string lower -- $word)
            end
        end
    end
    if test "$command" = config; and set -q given[1]
        set command (string lower -- $given[1])
        set given $given[2..-1]
    end
    test $skip = 1; and set command -
    printf '%s\n' "$command" $given
end

# The global options that choose the network, one word a line.
function __pytinc_globals
    set -l words (commandline -opc)
    set -l skip 0
    for word in $words[2..-1]
        if test $skip = 1
            set skip 0
            string replace -r '^~' $HOME -- $word
            continue
        end
        switch $word
            case -c -n --config --net --pidfile
                set skip 1
                printf '%s\n' $word
            case '-*'
                printf '%s\n' $word
            case '*'
                return
        end
    end
end

function __pytinc_no_command
    test -z (__pytinc_given)[1]
end

# Is the command one of these?
function __pytinc_command
    contains -- (__pytinc_given)[1] $argv
end

# Is the command one of these, and has it got no word yet (but --json)?
function __pytinc_first
    set -l given (__pytinc_given)
    contains -- $given[1] $argv; or return 1
    set -l rest (string match -v -- --json $given[2..-1])
    test (count $rest) -eq 0
end

function __pytinc_after
    set -l given (__pytinc_given)
    contains -- $given[1] dump list; and contains -- (string lower -- $given[-1]) $argv
end

# Does the word number $argv[1] of an order of vip follow, and is it one of these orders?
function __pytinc_vip
    set -l given (string match -v -- '--*' (__pytinc_given))
    test "$given[1]" = vip; and test (count $given) -eq $argv[1]; or return 1
    contains -- (string lower -- $given[2]) $argv[2..-1]
end

function __pytinc_confdir
    set -l etc /etc
    set -q PYTINC_SYSCONFDIR; and test -n "$PYTINC_SYSCONFDIR"; and set etc $PYTINC_SYSCONFDIR
    printf '%s\n' $etc/tinc
end

function __pytinc_confbase
    set -l net "$NETNAME"
    set -l directory ''
    set -l pending ''
    for word in (__pytinc_globals)
        if test -n "$pending"
            switch $pending
                case -c --config
                    set directory $word
                case -n --net
                    set net $word
            end
            set pending ''
            continue
        end
        switch $word
            case -c -n --config --net --pidfile
                set pending $word
            case '--config=*'
                set directory (string replace -- --config= '' $word)
            case '--net=*'
                set net (string replace -- --net= '' $word)
            case '-n*'
                set net (string sub -s 3 -- $word)
            case '-c*'
                set directory (string sub -s 3 -- $word)
        end
    end
    test "$net" = .; and set net ''
    if test -n "$directory"
        printf '%s\n' $directory
    else if test -n "$net"
        printf '%s\n' (__pytinc_confdir)/$net
    else
        __pytinc_confdir
    end
end

function __pytinc_networks
    for file in (__pytinc_confdir)/*/tinc.conf
        string replace -r '.*/([^/]+)/tinc.conf$' '$1' -- $file
    end
end

# Names of the files in hosts/ that are names of nodes.
function __pytinc_hosts
    for file in (__pytinc_confbase)/hosts/*
        string match -r '^[A-Za-z0-9_]+$' -- (string replace -r '.*/' '' -- $file)
    end
end

# Print the first word of each line of a command of pytinc, which asks the running daemon.
function __pytinc_running
    set -l program (string replace -r '^~' $HOME -- (commandline -opc)[1])
    command $program --batch (__pytinc_globals) $argv 2>/dev/null </dev/null | string replace -r ' .*' ''
end

function __pytinc_nodes
    begin
        __pytinc_hosts
        __pytinc_running dump nodes
    end | sort -u
end

function __pytinc_variables
    set -l word (commandline -ct)
    if string match -q '*.*' -- $word
        set -l host (string replace -r '\..*' '' -- $word)
        printf "$host.%s\n" @HOST_VARIABLES@
    else
        printf '%s\n' @VARIABLES@
        for host in (__pytinc_hosts)
            printf '%s.\n' $host
        end
    end
end

function __pytinc_has_value
    set -l given (__pytinc_given)
    contains -- $given[1] set add del; and test (count $given) -eq 2
end

function __pytinc_values
    switch (string lower -- (string replace -r '.*\.' '' -- (__pytinc_given)[2]))
        case (string split '|' '@YES_NO@')
            printf 'yes\nno\n'
        case (string split '|' '@NODE_NAME@')
            __pytinc_hosts
    end
end

# Is it a virtual IP, with an address already?
function __pytinc_has_address
    set -l given (__pytinc_given)
    contains -- $given[1] set add; and test (count $given) -gt 2
    and test (string lower -- $given[2]) = virtualip
end

function __pytinc_pending
    contains -- (commandline -opc)[-1] $argv; and contains -- (__pytinc_given)[1] -
end

complete -c pytinc -f
@FISH_COMMANDS@
@FISH_OPTIONS@
complete -c pytinc -n '__pytinc_pending -n --net' -a '(__pytinc_networks)'
complete -c pytinc -n '__pytinc_pending -c --config' -a '(__fish_complete_directories)'
complete -c pytinc -n '__pytinc_pending --pidfile' -F
complete -c pytinc -n '__pytinc_command dump list info vip network fsck doctor; or __pytinc_first get' -l json
complete -c pytinc -n '__pytinc_command events' -l json
complete -c pytinc -n '__pytinc_first dump list' -a '@DUMP@'
complete -c pytinc -n '__pytinc_after reachable' -a nodes
complete -c pytinc -n '__pytinc_after graph digraph' -l svg -r -F -d 'Draw into a file'
complete -c pytinc -n '__pytinc_after graph digraph' -l png -r -F -d 'Draw into a file'
complete -c pytinc -n '__pytinc_first get set add del' -a '(__pytinc_variables)'
complete -c pytinc -n __pytinc_has_value -a '(__pytinc_values)'
complete -c pytinc -n __pytinc_has_address -a '@VIRTUAL_IP_KEYS@'
complete -c pytinc -n '__pytinc_first info disconnect' -a '(__pytinc_nodes)'
complete -c pytinc -n '__pytinc_first connect verify' -a '(__pytinc_hosts)'
complete -c pytinc -n '__pytinc_command verify; and not __pytinc_first verify' -F
complete -c pytinc -n '__pytinc_command vip' -l watch
complete -c pytinc -n '__pytinc_command events' -l follow -d 'Also show what happens from now on'
complete -c pytinc -n '__pytinc_command view' -l listen -x -d 'At this address and port'
complete -c pytinc -n '__pytinc_command view' -l host -x -d 'Also by this host name'
complete -c pytinc -n '__pytinc_command view' -l socket -x -d 'At a socket of the starter'
complete -c pytinc -n '__pytinc_command events' -l since -x -d 'Only what came after this event'
complete -c pytinc -n '__pytinc_first vip' -a '@VIP@ (__pytinc_running vip)'
complete -c pytinc -n '__pytinc_vip 2 move freeze thaw rebalance' -a '(__pytinc_running vip)'
complete -c pytinc -n '__pytinc_vip 3 move' -a '(__pytinc_hosts)'
complete -c pytinc -n '__pytinc_first network' -a '(__pytinc_networks)'
complete -c pytinc -n '__pytinc_first edit' -a '@SCRIPTS@ (__pytinc_hosts)'
complete -c pytinc -n '__pytinc_first debug log' -a '0 1 2 3 4 5 10'
complete -c pytinc -n '__pytinc_command sign' -F
complete -c pytinc -n '__pytinc_command start restart' -a '@DAEMON_OPTIONS@'
complete -c pytinc -n '__pytinc_first config' -a 'get set add del'
complete -c pytinc -n '__pytinc_first completion' -a 'bash zsh fish'
"""
