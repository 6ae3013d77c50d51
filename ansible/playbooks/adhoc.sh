# The how-to's helper, for sh and bash: `. adhoc.sh`, then `adhoc TASK [WORDS OF ansible-playbook]`.
adhoc() {
    case " $* " in
        *" -l host-info "* | *" --limit host-info "*)
            echo "adhoc: host-info is a task and no host; this does: adhoc host-info" >&2
            set -- host-info
            ;;
    esac
    task=$1
    shift
    ansible-playbook "$PWD/adhoc.yaml" -e "task=$task" -i hosts.yaml "$@"
}
