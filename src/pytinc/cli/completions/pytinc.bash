# bash completion for pytinc
# Made by tools/generate.py of pytinc from its tables of commands and variables: do not edit.

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
        for name in Address Cipher ClampMSS Compression Digest Ed25519PublicKey Ed25519PublicKeyFile IndirectData MACLength PMTU PMTUDiscovery Port PublicKey PublicKeyFile SPTPSCipher Subnet TCPOnly VirtualIP Weight; do
            _pytinc_offer "$cur" "$host.$name"
        done
        return
    fi
    _pytinc_offer "$cur" Address AddressFamily AutoConnect BindToAddress BindToInterface Broadcast BroadcastLimit BroadcastSubnet Cipher ClampMSS Compression ConnectTo DecrementTTL Device DeviceStandby DeviceType Digest DirectOnly Ed25519PrivateKeyFile Ed25519PublicKey Ed25519PublicKeyFile ExperimentalProtocol FastTag Forwarding FWMark GraphDumpFile GuardInterval Hostnames IffOneQueue IndirectData Interface InvitationExpire KeyExpire ListenAddress LocalDiscovery LogLevel MACExpire MACLength MaxConnectionBurst MaxOutputBufferSize MaxTimeout MetricsListen Mode MTUInfoInterval Name NeighbourGuard Offload PingInterval PingTimeout PMTU PMTUDiscovery Port PriorityInheritance PrivateKey PrivateKeyFile ProcessPriority Proxy PublicKey PublicKeyFile ReplayWindow Sandbox ScriptsExtension ScriptsInterpreter SPTPSCipher StrictSubnets StrictVirtualIPs Subnet TCPOnly TunnelServer UDPDiscovery UDPDiscoveryInterval UDPDiscoveryKeepaliveInterval UDPDiscoveryTimeout UDPInfoInterval UDPRcvBuf UDPSndBuf UPnP UPnPDiscoverWait UPnPRefreshPeriod VDEGroup VDEPort VirtualIP Weight
    for name in $(_pytinc_hosts); do _pytinc_offer "$cur" "$name."; done
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *. ]] && compopt -o nospace 2>/dev/null
    return 0
}

_pytinc_value() {
    local name=${1##*.}
    case ${name,,} in
        autoconnect|clampmss|decrementttl|devicestandby|directonly|experimentalprotocol|fasttag|hostnames|iffonequeue|indirectdata|localdiscovery|neighbourguard|offload|pmtudiscovery|priorityinheritance|strictsubnets|strictvirtualips|tcponly|tunnelserver|udpdiscovery) _pytinc_offer "$cur" yes no ;;
        connectto|name) _pytinc_offer "$cur" $(_pytinc_hosts) ;;
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
            _pytinc_offer "$cur" -b --batch -c --config -n --net --pidfile --force -h --help --version
        else
            _pytinc_offer "$cur" init get set add del start stop restart reload pid generate-keys generate-ed25519-keys dump list info purge debug retry connect disconnect vip events top view pcap log export export-all import exchange exchange-all invite join network fsck doctor edit sign verify completion version help
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
                "" | --json) _pytinc_offer "$cur" reachable nodes edges subnets connections shared graph digraph invitations ;;
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
                _pytinc_offer "$cur" node= priority= preempt= balance= weight= check= status= text= verify= interval= timeout= rise= fall= manage=
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
                0,) _pytinc_offer "$cur" drain undrain move freeze thaw rebalance $(_pytinc_running vip) ;;
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
        edit) ((count == 0)) && _pytinc_offer "$cur" tinc.conf tinc-up tinc-down host-up host-down subnet-up subnet-down vip-changed vip-up vip-down $(_pytinc_hosts) ;;
        debug | log) ((count == 0)) && _pytinc_offer "$cur" 0 1 2 3 4 5 10 ;;
        sign) _pytinc_files -f ;;
        start | restart) _pytinc_offer "$cur" -c --config -n --net -D --no-detach -d --debug -L --mlock --logfile -s --syslog --pidfile -o --option -R --chroot -U --user --bypass-security --replace --help --version ;;
        completion) ((count == 0)) && _pytinc_offer "$cur" bash zsh fish ;;
    esac
    return 0
}

complete -F _pytinc pytinc
