# end_grace.sh: nobody is waited for who had something open here before.
[ ! -w /proc/fs/nfsd/v4_end_grace ] || [ "$(cat /proc/fs/nfsd/v4_end_grace)" = Y ] || echo Y >/proc/fs/nfsd/v4_end_grace
