#!/bin/sh
# Installs relacy-dev, the headers of the model checker, when this user may; says in one line what it did.
for folder in /usr/include /usr/local/include; do
  if [ -e "$folder/relacy/relacy.hpp" ]; then exit 0; fi
done
skip() {
  echo "relacy: SKIP, the model checks will not run: $1"
  exit 0
}
command -v apt-get >/dev/null || skip "no apt-get here; put relacy/relacy.hpp into /usr/local/include"
as_root=""
if [ "$(id -u)" != 0 ]; then
  sudo -n true 2>/dev/null || skip "not root and no sudo without a password (apt-get install relacy-dev)"
  as_root="sudo -n"
fi
echo "relacy: installing Debian's relacy-dev for the model checks (apt-get install relacy-dev)"
install="$as_root apt-get install -y -qq --no-install-recommends relacy-dev"
$install >/dev/null 2>&1 </dev/null && exit 0
$as_root apt-get update -qq >/dev/null 2>&1 </dev/null
$install >/dev/null 2>&1 </dev/null || skip "apt-get install relacy-dev failed"
