# The browser that tests open pages in. Sourced, not run, after venv.sh.
#
#   use_browser         installs Chromium where there is none, if apt-get can; else says what the tests do without it

use_browser() {
    local name
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null; then
            return 0
        fi
    done
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        complain "Installing Chromium"
        if { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium; } >/dev/null 2>&1; then
            return 0
        fi
    fi
    complain "There is no Chromium: tests of pages are skipped, or fail where CI is set."
}
