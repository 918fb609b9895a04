#!/bin/sh
# install_debian.sh PACKAGE FILE FOR: installs a Debian package, when this user may, unless FILE is there (under /usr
# or /usr/local); says in one line what it did, and FOR what it is needed where it could not.
package=$1 file=$2 purpose=$3
for folder in /usr /usr/local; do
  if [ -e "$folder/$file" ]; then exit 0; fi
done
skip() {
  echo "$package: SKIP, $purpose: $1"
  exit 0
}
command -v apt-get >/dev/null || skip "no apt-get here; put $file into /usr/local"
as_root=""
if [ "$(id -u)" != 0 ]; then
  sudo -n true 2>/dev/null || skip "not root and no sudo without a password (apt-get install $package)"
  as_root="sudo -n"
fi
echo "$package: installing it from Debian (apt-get install $package)"
install="$as_root apt-get install -y -qq --no-install-recommends $package"
$install >/dev/null 2>&1 </dev/null && exit 0
$as_root apt-get update -qq >/dev/null 2>&1 </dev/null
$install >/dev/null 2>&1 </dev/null || skip "apt-get install $package failed"
