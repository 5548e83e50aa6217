#!/bin/sh
# The report is tried in a real browser. Where there is none and Debian's packages can be installed, install one.
set -u
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null && exit 0
fi
echo "no Chromium, and it can't be installed here: the tests of the page in a browser will be skipped" >&2
