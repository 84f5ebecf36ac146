#!/usr/bin/env bash
# Makes the environment that deploy/venv.sh has put below STAGE fit for HOME, where it will lie:
# no path of the machine that built it, no tools, bytecode that nobody has to write anew.
# usage: settle.sh STAGE HOME
set -euo pipefail

stage=$1
home=$2
dir=$stage$home
site=$(echo "$dir"/lib/python3.*/site-packages)

# The interpreter is the distribution's; only the program itself is left of the scripts.
rm -rf "${dir:?}"/{bin,include,lib64,share,.gitignore}
mkdir "$dir/bin"
ln -s ../../../bin/python3 "$dir/bin/python3"
printf '#!%s/bin/python3 -IB\nfrom ovpnha.cli import main\n\nmain()\n' "$home" >"$dir/bin/ovpnha"
chmod 755 "$dir/bin/ovpnha"
printf 'home = /usr/bin\ninclude-system-site-packages = false\n' >"$dir/pyvenv.cfg"

# For installers, who have no business here: where it was built is in them. Licences are in the
# package's copyright file; nobody tests, compiles or starts a module by its name here.
rm -f "$site"/*.dist-info/{RECORD,REQUESTED,INSTALLER,direct_url.json,top_level.txt}
rm -rf "$site"/*/tests "$site"/*/.agents "$site"/*.dist-info/licenses
find "$site" -iname 'licen[cs]e*' ! -name '*.py' -delete -o -iname 'copying*' -delete -o \
    -iname 'authors*' -delete -o -name '*.pyx' -delete -o -name '*.pxd' -delete -o -name '*.[ch]' -delete
find "$dir" -name __pycache__ -prune -exec rm -rf {} +
find "$dir" -type d -empty -delete
find "$site" -name '*.py' -exec sed -i '1{/^#!/d}' {} +
find "$site" -type f -exec chmod 644 {} +
chmod 755 "$site/ovpnha/data/keepalived/check-grade"

# Not compared with the sources at each start: dpkg keeps both, and nobody else writes here.
python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$stage" "$site"
