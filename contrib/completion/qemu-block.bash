# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of qemu-img, qemu-io, qemu-nbd, qemu-storage-daemon and qemu-system-x86_64 for bash; installed under each of their names.
# Options and commands are what --help of the program in question says at that moment, so they are never out of
# date; what is written down here is the values that options take.  It needs nothing but bash 4.
# shellcheck shell=bash disable=SC2206

# Each option of program $1 on a line; one that takes an argument ends in "=".  With $2: of this command.
_qemu_block_options() {
    local line word arg='' IFS=$' \t\n'
    local -a words
    set -f                              # it runs in a shell of its own
    while IFS= read -r line; do
        if [[ -n $2 ]]; then
            [[ $line == "  $2 "* ]] || continue
            line=${line//[][()|]/ . }                   # what ends an argument
            words=(${line//=/ =})
        else
            [[ $line =~ ^\ +\'?(-[^$'\t']*) ]] || continue
            line=${BASH_REMATCH[1]//\'/}
            line=${line%%  *}
            words=(${line//[,=]/ })
            for word in "${words[@]}"; do               # of the whole line
                [[ $word == -* ]] || arg='='
            done
        fi
        for ((i = 0; i < ${#words[@]}; i++)); do
            word=${words[i]}
            [[ $word == -?* ]] || continue
            [[ -n $2 && ${words[i+1]} && ${words[i+1]} != [-.]* ]] && arg='='
            printf '%s\n' "$word$arg"
            [[ -n $2 ]] && arg=''
        done
        arg=''
    done < <("$1" --help 2>/dev/null)
}

# Commands of program $1, a line each.
_qemu_block_commands() {
    local line on=''
    while IFS= read -r line; do
        [[ $line == 'Command syntax:' ]] && on=1 && continue
        [[ -n $on && $line =~ ^\ \ ([a-z]+)\  ]] && echo "${BASH_REMATCH[1]}"
        [[ -n $on && -z $line ]] && break
    done < <("$1" --help 2>/dev/null)
}

# What a program lists: the first words of the lines below the title, without what is behind "=".
_qemu_block_listed() {
    local line
    while IFS= read -r line; do
        [[ $line =~ ^\ +([A-Za-z0-9_.-]+=?) ]] && echo "${BASH_REMATCH[1]}"
    done < <("$@" 2>/dev/null)
}

# What -o of a command of qemu-img takes with the format that the words before it say.
_qemu_block_create_options() {
    local i format=raw
    for ((i = 1; i < COMP_CWORD; i++)); do
        case $2:${COMP_WORDS[i]} in
        create:-f | amend:-f | convert:-O | measure:-O) format=${COMP_WORDS[i + 1]} ;;
        esac
    done
    _qemu_block_listed "$1" create -f "$format" -o help /dev/null
}

# The values of option $2, key $3, of the program $1 called NAME $4, command $5.  Prints them; "files" alone: file names.
_qemu_block_values() {
    case $4:$5:$2:$3 in
    *:convert:-o:preallocation | *:create:-o:preallocation | *:--preallocation:*)
        echo off metadata falloc full ;;
    *:-o:compat)           echo 0.10 1.1 ;;
    *:-o:compression_type) echo zlib zstd ;;
    *:-o:extended_l2 | *:-o:lazy_refcounts | *:-o:data_file_raw | *:-o:nocow)
        echo on off ;;
    *:-o:backing_fmt)      echo raw qcow2 ;;
    *:-o:*_file)           echo files ;;
    qemu-img:create:-o: | qemu-img:convert:-o: | qemu-img:amend:-o: | qemu-img:measure:-o:)
        _qemu_block_create_options "$1" "$5" ;;
    qemu-img:*:-[fFO]: | qemu-img:*:--format: | qemu-img:*:--source-format: | qemu-io:*:-f: | qemu-io:*:--format: | \
    qemu-nbd:*:-f: | qemu-nbd:*:--format:)
        echo raw qcow2 ;;
    qemu-img:?*:-[tT]: | qemu-io:*:-t: | *:--cache:)
        echo none writeback writethrough directsync unsafe ;;
    qemu-img:bench:-i: | qemu-io:*:-i: | *:--aio:)
        echo threads native io_uring ;;
    qemu-img:*:--output:)  echo human json ;;
    qemu-img:check:-r: | qemu-img:check:--repair:)
        echo leaks all ;;
    qemu-img:*:-[bB]: | qemu-img:*:--source-file:)
        echo files ;;
    qemu-io:*:-d: | *:--discard:)
        echo ignore unmap ;;
    qemu-nbd:*:--detect-zeroes:)
        echo off on unmap ;;
    qemu-io:*:-c: | qemu-io:*:--cmd:)
        _qemu_block_io_commands "$1" ;;
    qemu-nbd:*:-[kcd]: | qemu-nbd:*:--socket: | qemu-nbd:*:--connect: | *:--pid-file: | *:--pidfile:)
        echo files ;;
    *:-T:file | *:--trace:file | *:-T:events | *:--trace:events)
        echo files ;;
    *:-T: | *:--trace:)    echo enable= events= file= help ;;
    qemu-system-x86_64:*:-machine:* | qemu-system-x86_64:*:-M:*)
        echo none pc q35 help ;;
    qemu-system-x86_64:*:-[hf]d[a-d]: | qemu-system-x86_64:*:-cdrom: | qemu-system-x86_64:*:-pidfile:)
        echo files ;;
    qemu-storage-daemon:*) _qemu_block_daemon_values "$1" "$2" "$3" ;;
    esac
}

_qemu_block_io_commands() {
    local line
    while IFS= read -r line; do
        [[ $line =~ ^([a-z_]+)\ .*-- ]] && echo "${BASH_REMATCH[1]}"
    done < <("$1" -c help 2>/dev/null)
}

_qemu_block_daemon_values() {
    case $2:$3 in
    --blockdev:driver)     _qemu_block_listed "$1" --blockdev driver=help ;;
    --blockdev:*filename)  echo files ;;
    --blockdev:)           echo driver= node-name= file= file.driver=file file.filename= read-only= ;;
    --drive:file)          echo files ;;
    --drive:format)        echo raw qcow2 ;;
    --drive:)              echo id= file= format= readonly= cache= ;;
    --object:)             _qemu_block_listed "$1" --object help ;;
    --object:id)           ;;
    --export:type)         _qemu_block_listed "$1" --export type=help ;;
    --export:)             echo type= id= node-name= name= writable= iothread= ;;
    --nbd-server:addr.type) echo unix inet ;;
    --nbd-server:addr.path) echo files ;;
    --nbd-server:)         echo addr.type= addr.path= addr.host= addr.port= id= max-connections= ;;
    --chardev:)            _qemu_block_listed "$1" --chardev help ;;
    --chardev:path)        echo files ;;
    --monitor:)            echo chardev= pretty= ;;
    --qmp:)                echo unix: tcp: stdio ;;
    --snapshot-layout:)    echo cluster-size= extended-l2= ;;
    --log:)                echo stderr syslog journal; echo files ;;
    *:writable | *:server | *:wait | *:pretty | *:extended-l2 | *:read-only | *:readonly | --sandbox: | --overlay-warnings:)
        echo on off ;;
    esac
}

# Does the option $2 of the list $1 take an argument?
_qemu_block_has_argument() {
    [[ $'\n'$1$'\n' == *$'\n'"$2="$'\n'* ]]
}

# COMPREPLY: what of the words $2 begins with $1; $3 stands in front of it.
_qemu_block_reply() {
    local word IFS=$' \t\n'
    for word in $2; do
        if [[ $word == files ]]; then
            [[ -z $3 ]] && compopt -o filenames 2>/dev/null
            while IFS= read -r word; do
                COMPREPLY+=("$3$word")
            done < <(compgen -f -- "$1")
        elif [[ $word == "$1"* ]]; then
            COMPREPLY+=("$3$word")
        fi
    done
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=:] ]] && compopt -o nospace 2>/dev/null
    return 0
}

# The command that the words before the one at the cursor have.
_qemu_block_command() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -T | --trace) ((i++)) ;;
        -* | =)       ;;
        *)            echo "${COMP_WORDS[i]}"; return ;;
        esac
    done
}

_qemu_block() {
    local program=$1 name=${1##*/} cur=${COMP_WORDS[COMP_CWORD]} i=$COMP_CWORD command='' key='' option options front=''
    COMPREPLY=()
    # "=" is a word of its own; what belongs together begins at word i.
    if [[ $cur == = ]]; then
        cur=''
        ((i++))
    fi
    [[ ${COMP_WORDS[i - 1]} == = ]] && key=${COMP_WORDS[i - 2]##*,}
    while ((i > 2)) && [[ ${COMP_WORDS[i - 1]} == = ]]; do
        ((i -= 2))
    done
    option=${COMP_WORDS[i - 1]}
    if [[ $i -le $COMP_CWORD && ${COMP_WORDS[i]} == --* && -n $key ]]; then
        option=${COMP_WORDS[i]}
        [[ $key == "$option" ]] && key=''
    fi
    case $cur in *,*) front=${cur%,*}, cur=${cur##*,} key='' ;; esac
    case $name in
    *qemu-img)            name=qemu-img command=$(_qemu_block_command) ;;
    *qemu-io)             name=qemu-io ;;
    *qemu-nbd)            name=qemu-nbd ;;
    *qemu-storage-daemon) name=qemu-storage-daemon ;;
    *qemu-system-x86_64)  name=qemu-system-x86_64 ;;
    esac
    options=$(_qemu_block_options "$program" "$command")
    if [[ $option == -* ]] && _qemu_block_has_argument "$options" "$option"; then
        _qemu_block_reply "$cur" "$(_qemu_block_values "$program" "$option" "$key" "$name" "$command")" "$front"
    elif [[ $cur == -* ]]; then
        _qemu_block_reply "$cur" "${options//=/}" ''
    elif [[ $name == qemu-img && -z $command ]]; then
        _qemu_block_reply "$cur" "$(_qemu_block_commands "$program")" ''
    elif [[ $command == dd && -z $key ]]; then
        _qemu_block_reply "$cur" 'if= of= bs= count= skip=' ''
    elif [[ $name != qemu-storage-daemon && $command:$key != dd:[bcs]* ]]; then
        _qemu_block_reply "$cur" files ''
    fi
}

complete -F _qemu_block qemu-img qemu-io qemu-nbd qemu-storage-daemon qemu-system-x86_64
