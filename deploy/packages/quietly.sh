#!/usr/bin/env bash
# Sourced by the scripts beside this one: one line for each step they take; the rest is in $log.

die() {
    echo "packages: $*" >&2
    exit 1
}

# quietly TEXT COMMAND...: one line with the seconds; its output only when it fails.
quietly() {
    local text=$1 start=$SECONDS
    shift
    echo "packages: $text ..."
    "$@" >>"${log:?}" 2>&1 || {
        tail -n 40 "$log" >&2
        die "$text failed after $((SECONDS - start)) s; the whole log is $log"
    }
    echo "packages: $text: $((SECONDS - start)) s"
}
