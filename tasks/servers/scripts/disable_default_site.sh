# disable_default_site.sh SERVICE LINK: the distribution's link is gone (what it points to stays).
if [ -L "$2" ]; then
    mark_reload "$1"
    rm -f "$2"
fi
