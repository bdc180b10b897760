# stat_names.sh DIRECTORY <NAMES: of each name (they end with NUL) `changed kind size<TAB>name`, ending with NUL.
cd "$1"
xargs -0 -r stat --printf '%Z %f %s\t%n\0' -- 2>/dev/null || :
