# Makes the virtual environment of this checkout and keeps it in step with pyproject.toml. Sourced, not run.
#
#   root                the checkout
#   find_python         prints a Python that is new enough
#   use_venv EXTRAS     makes .venv if need be, installs vml with these extras, puts it first on PATH

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

complain() {
    printf '%s\n' "$@" >&2
}

# Whether $1 is a Python of version 3.11 or newer. A version manager's shim may exist and still not run.
is_new_enough() {
    "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# The first Python that is new enough; among those, one that can fill a virtual environment (Debian's cannot
# without the package python3-venv). $PYTHON, when set, is the only candidate.
find_python() {
    local candidate fallback=""
    for candidate in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3 python}; do
        if is_new_enough "$candidate"; then
            if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
                printf '%s\n' "$candidate"
                return 0
            fi
            fallback=${fallback:-$candidate}
        fi
    done
    if [ -n "$fallback" ]; then
        printf '%s\n' "$fallback"
        return 0
    fi
    complain "error: vml needs Python 3.11 or newer, and none was found." \
        "found: ${PYTHON:-python3} is $("${PYTHON:-python3}" --version 2>&1 | head -n 1)" \
        "hint: install one, or name it: PYTHON=/path/to/python3.12 $0"
    return 1
}

# A virtual environment at $1 with pip in it.
make_venv() {
    local python
    python=$(find_python) || return 1
    complain "Making $(basename "$1") with $("$python" --version)"
    if "$python" -m venv --clear "$1" >/dev/null 2>&1; then
        return 0
    fi
    # Without ensurepip a venv has no pip of its own, but a pip that stands outside can install one into it.
    if "$python" -m venv --clear --without-pip "$1" 2>/dev/null \
        && "$python" -m pip --python "$1/bin/python" install --quiet pip 2>/dev/null; then
        return 0
    fi
    if "$python" -m virtualenv --quiet --clear "$1" 2>/dev/null; then
        return 0
    fi
    rm -rf "$1"
    complain "error: $python cannot make a virtual environment with pip in it." \
        "hint: on Debian and Ubuntu: sudo apt install python3-venv (or the one of your version, as python3.12-venv)"
    return 1
}

# Whether $2 (a name) was installed into $1 from this checkout as it is now described by the file $3.
is_installed() {
    [ -f "$1/installed-$2" ] && { printf '%s\n' "$root" && cat "$3"; } | cmp -s - "$1/installed-$2"
}

# pip install ARGUMENTS… into $1, unless $2 (names, with commas between) are installed as $3 describes them.
install_once() {
    local venv=$1 names=$2 file=$3 name complete=yes
    shift 3
    for name in ${names//,/ }; do
        is_installed "$venv" "$name" "$file" || complete=no
    done
    if [ $complete = yes ]; then
        return 0
    fi
    complain "Installing $names into $(basename "$venv")"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" || return 1
    for name in ${names//,/ }; do
        { printf '%s\n' "$root" && cat "$file"; } >"$venv/installed-$name"
    done
}

use_venv() {
    local venv=$root/.venv
    if ! is_new_enough "$venv/bin/python"; then
        make_venv "$venv" || return 1
    fi
    (cd "$root" && install_once "$venv" "$1" pyproject.toml --editable ".[$1]") || return 1
    export PATH="$venv/bin:$PATH"
}
