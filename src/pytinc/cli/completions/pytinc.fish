# fish completion for pytinc
# Made by tools/generate.py of pytinc from its tables of commands and variables: do not edit.

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
        printf "$host.%s\n" Address Cipher ClampMSS Compression Digest Ed25519PublicKey Ed25519PublicKeyFile IndirectData MACLength PMTU PMTUDiscovery Port PublicKey PublicKeyFile SPTPSCipher Subnet TCPOnly VirtualIP Weight
    else
        printf '%s\n' Address AddressFamily AutoConnect BindToAddress BindToInterface Broadcast BroadcastLimit BroadcastSubnet Cipher ClampMSS Compression ConnectTo DecrementTTL Device DeviceStandby DeviceType Digest DirectOnly Ed25519PrivateKeyFile Ed25519PublicKey Ed25519PublicKeyFile ExperimentalProtocol FastTag Forwarding FWMark GraphDumpFile GuardInterval Hostnames IffOneQueue IndirectData Interface InvitationExpire KeyExpire ListenAddress LocalDiscovery LogLevel MACExpire MACLength MaxConnectionBurst MaxOutputBufferSize MaxTimeout MetricsListen Mode MTUInfoInterval Name NeighbourGuard Offload PingInterval PingTimeout PMTU PMTUDiscovery Port PriorityInheritance PrivateKey PrivateKeyFile ProcessPriority Proxy PublicKey PublicKeyFile ReplayWindow Sandbox ScriptsExtension ScriptsInterpreter SPTPSCipher StrictSubnets StrictVirtualIPs Subnet TCPOnly TunnelServer UDPDiscovery UDPDiscoveryInterval UDPDiscoveryKeepaliveInterval UDPDiscoveryTimeout UDPInfoInterval UDPRcvBuf UDPSndBuf UPnP UPnPDiscoverWait UPnPRefreshPeriod VDEGroup VDEPort VirtualIP Weight
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
        case (string split '|' 'autoconnect|clampmss|decrementttl|devicestandby|directonly|experimentalprotocol|fasttag|hostnames|iffonequeue|indirectdata|localdiscovery|neighbourguard|offload|pmtudiscovery|priorityinheritance|strictsubnets|strictvirtualips|tcponly|tunnelserver|udpdiscovery')
            printf 'yes\nno\n'
        case (string split '|' 'connectto|name')
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
complete -c pytinc -n __pytinc_no_command -a init -d 'Create initial configuration files.'
complete -c pytinc -n __pytinc_no_command -a get -d 'Print current value of VARIABLE'
complete -c pytinc -n __pytinc_no_command -a set -d 'Set VARIABLE to VALUE'
complete -c pytinc -n __pytinc_no_command -a add -d 'Add VARIABLE with the given VALUE'
complete -c pytinc -n __pytinc_no_command -a del -d 'Remove VARIABLE [only ones with matching VALUE]'
complete -c pytinc -n __pytinc_no_command -a start -d 'Start pytincd.'
complete -c pytinc -n __pytinc_no_command -a stop -d 'Stop pytincd.'
complete -c pytinc -n __pytinc_no_command -a restart -d 'Restart pytincd.'
complete -c pytinc -n __pytinc_no_command -a reload -d 'Partially reload configuration of running pytincd.'
complete -c pytinc -n __pytinc_no_command -a pid -d 'Show PID of currently running pytincd.'
complete -c pytinc -n __pytinc_no_command -a generate-keys -d 'Generate a new Ed25519 public/private key pair.'
complete -c pytinc -n __pytinc_no_command -a generate-ed25519-keys -d 'The same.'
complete -c pytinc -n __pytinc_no_command -a dump -d 'Dump a list of one of the following things:'
complete -c pytinc -n __pytinc_no_command -a list -d 'The same as dump'
complete -c pytinc -n __pytinc_no_command -a info -d 'Give information about a particular NODE, SUBNET or ADDRESS.'
complete -c pytinc -n __pytinc_no_command -a purge -d 'Purge unreachable nodes'
complete -c pytinc -n __pytinc_no_command -a debug -d 'Set debug level'
complete -c pytinc -n __pytinc_no_command -a retry -d 'Retry all outgoing connections'
complete -c pytinc -n __pytinc_no_command -a connect -d 'Connect to a node'
complete -c pytinc -n __pytinc_no_command -a disconnect -d 'Close meta connection with NODE'
complete -c pytinc -n __pytinc_no_command -a vip -d 'Show virtual IPs, or one of them with members and checks, or:'
complete -c pytinc -n __pytinc_no_command -a events -d 'Show recent events of the VPN.'
complete -c pytinc -n __pytinc_no_command -a top -d 'Show real-time statistics'
complete -c pytinc -n __pytinc_no_command -a view -d 'Show the mesh live in a browser: prints the URL of a page'
complete -c pytinc -n __pytinc_no_command -a pcap -d 'Dump traffic in pcap format [up to snaplen bytes per packet]'
complete -c pytinc -n __pytinc_no_command -a log -d 'Dump log output [up to the specified level]'
complete -c pytinc -n __pytinc_no_command -a export -d 'Export host configuration of local node to standard output'
complete -c pytinc -n __pytinc_no_command -a export-all -d 'Export all host configuration files to standard output'
complete -c pytinc -n __pytinc_no_command -a import -d 'Import host configuration file(s) from standard input'
complete -c pytinc -n __pytinc_no_command -a exchange -d 'Same as export followed by import'
complete -c pytinc -n __pytinc_no_command -a exchange-all -d 'Same as export-all followed by import'
complete -c pytinc -n __pytinc_no_command -a invite -d 'Generate an invitation for NODE'
complete -c pytinc -n __pytinc_no_command -a join -d 'Join a VPN using an INVITATION'
complete -c pytinc -n __pytinc_no_command -a network -d 'List all known networks, or switch to the one named NETNAME.'
complete -c pytinc -n __pytinc_no_command -a fsck -d 'Check the configuration files for problems.'
complete -c pytinc -n __pytinc_no_command -a doctor -d 'Check what keeps this node from working, and say what to do.'
complete -c pytinc -n __pytinc_no_command -a edit -d 'Edit a configuration file or script.'
complete -c pytinc -n __pytinc_no_command -a sign -d 'Generate a signed version of a file.'
complete -c pytinc -n __pytinc_no_command -a verify -d 'Verify that a file was signed by the given NODE.'
complete -c pytinc -n __pytinc_no_command -a completion -d 'Print the completion script for a shell.'
complete -c pytinc -n __pytinc_no_command -a version -d 'Output version information.'
complete -c pytinc -n __pytinc_no_command -a help -d 'Display this help, or that of COMMAND.'
complete -c pytinc -n __pytinc_no_command -a -b -d 'Don\'t ask for anything (non-interactive mode).'
complete -c pytinc -n __pytinc_no_command -a --batch -d 'Don\'t ask for anything (non-interactive mode).'
complete -c pytinc -n __pytinc_no_command -a -c -d 'Read configuration options from DIR.'
complete -c pytinc -n __pytinc_no_command -a --config -d 'Read configuration options from DIR.'
complete -c pytinc -n __pytinc_no_command -a -n -d 'Connect to net NETNAME.'
complete -c pytinc -n __pytinc_no_command -a --net -d 'Connect to net NETNAME.'
complete -c pytinc -n __pytinc_no_command -a --pidfile -d 'Read control cookie from FILENAME.'
complete -c pytinc -n __pytinc_no_command -a --force -d 'Force some commands to work despite warnings.'
complete -c pytinc -n __pytinc_no_command -a -h -d 'Display this help and exit.'
complete -c pytinc -n __pytinc_no_command -a --help -d 'Display this help and exit.'
complete -c pytinc -n __pytinc_no_command -a --version -d 'Output version information and exit.'
complete -c pytinc -n '__pytinc_pending -n --net' -a '(__pytinc_networks)'
complete -c pytinc -n '__pytinc_pending -c --config' -a '(__fish_complete_directories)'
complete -c pytinc -n '__pytinc_pending --pidfile' -F
complete -c pytinc -n '__pytinc_command dump list info vip network fsck doctor; or __pytinc_first get' -l json
complete -c pytinc -n '__pytinc_command events' -l json
complete -c pytinc -n '__pytinc_first dump list' -a 'reachable nodes edges subnets connections shared graph digraph invitations'
complete -c pytinc -n '__pytinc_after reachable' -a nodes
complete -c pytinc -n '__pytinc_after graph digraph' -l svg -r -F -d 'Draw into a file'
complete -c pytinc -n '__pytinc_after graph digraph' -l png -r -F -d 'Draw into a file'
complete -c pytinc -n '__pytinc_first get set add del' -a '(__pytinc_variables)'
complete -c pytinc -n __pytinc_has_value -a '(__pytinc_values)'
complete -c pytinc -n __pytinc_has_address -a 'node= priority= preempt= balance= weight= check= status= text= verify= interval= timeout= rise= fall= manage='
complete -c pytinc -n '__pytinc_first info disconnect' -a '(__pytinc_nodes)'
complete -c pytinc -n '__pytinc_first connect verify' -a '(__pytinc_hosts)'
complete -c pytinc -n '__pytinc_command verify; and not __pytinc_first verify' -F
complete -c pytinc -n '__pytinc_command vip' -l watch
complete -c pytinc -n '__pytinc_command events' -l follow -d 'Also show what happens from now on'
complete -c pytinc -n '__pytinc_command view' -l listen -x -d 'At this address and port'
complete -c pytinc -n '__pytinc_command view' -l host -x -d 'Also by this host name'
complete -c pytinc -n '__pytinc_command view' -l socket -x -d 'At a socket of the starter'
complete -c pytinc -n '__pytinc_command events' -l since -x -d 'Only what came after this event'
complete -c pytinc -n '__pytinc_first vip' -a 'drain undrain move freeze thaw rebalance (__pytinc_running vip)'
complete -c pytinc -n '__pytinc_vip 2 move freeze thaw rebalance' -a '(__pytinc_running vip)'
complete -c pytinc -n '__pytinc_vip 3 move' -a '(__pytinc_hosts)'
complete -c pytinc -n '__pytinc_first network' -a '(__pytinc_networks)'
complete -c pytinc -n '__pytinc_first edit' -a 'tinc.conf tinc-up tinc-down host-up host-down subnet-up subnet-down vip-changed vip-up vip-down (__pytinc_hosts)'
complete -c pytinc -n '__pytinc_first debug log' -a '0 1 2 3 4 5 10'
complete -c pytinc -n '__pytinc_command sign' -F
complete -c pytinc -n '__pytinc_command start restart' -a '-c --config -n --net -D --no-detach -d --debug -L --mlock --logfile -s --syslog --pidfile -o --option -R --chroot -U --user --bypass-security --replace --help --version'
complete -c pytinc -n '__pytinc_first config' -a 'get set add del'
complete -c pytinc -n '__pytinc_first completion' -a 'bash zsh fish'
